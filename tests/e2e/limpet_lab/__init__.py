# SPDX-License-Identifier: Apache-2.0
"""A laboratory for Limpet: networks of namespaces, real brokers, clients, a gateway, and what must hold of them."""
