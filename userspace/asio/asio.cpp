// SPDX-License-Identifier: Apache-2.0
// Asio and Beast are compiled once, here (BOOST_ASIO_SEPARATE_COMPILATION); everybody else sees declarations.
#include <boost/asio/impl/src.hpp>
#include <boost/beast/src.hpp>
