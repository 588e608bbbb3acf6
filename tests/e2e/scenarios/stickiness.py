# SPDX-License-Identifier: Apache-2.0
"""Which broker a client gets: by its id, again and again."""
from limpet_lab import checks, clients
from limpet_lab.process import LabError
from limpet_lab.scenario import scenario


@scenario()
def everybody_returns_to_the_same_broker(lab):
    """Sixty ids connect three times each, in changing order; every broker has some, each id has one."""
    lab.start()
    ids = [f"device/{number}/é" for number in range(60)]
    for round_ in range(3):
        for client_id in ids[round_ * 17:] + ids[:round_ * 17]:
            lab.raw_session(client_id)
        checks.all_spliced(lab, len(ids))
        lab.leave()
        checks.flows_end(lab.gateway)
        checks.no_connection_counted(lab.gateway)
    homes = {client_id: lab.broker_of(client_id) for client_id in ids}
    if set(homes.values()) != {"b1", "b2", "b3"}:
        raise LabError(f"sixty ids used only {set(homes.values())}")
    for client_id, home in homes.items():
        if (named := lab.gateway.lookup(client_id, lab.family)["broker"]) != home:
            raise LabError(f"{client_id} is at {home}, lookup says {named}")


@scenario(families=(4,), modes=("tc", "relay"))
def empty_ids_are_spread(lab):
    """Clients without an id have no home: they must not all land on one broker."""
    lab.start()
    for _ in range(60):
        lab.raw_session("")
    checks.all_spliced(lab, 60)
    counts = {broker["name"]: broker["connections"] for broker in lab.gateway.status()["brokers"]
              if broker.get("pool", "main4") == "main4"}
    if len(counts) != 3 or max(counts.values()) > 40:
        raise LabError(f"sixty anonymous clients were spread as {counts}")


@scenario(families=(4,), modes=("tc",))
def long_ids_are_whole_ids(lab):
    """Ids that share their first 200 bytes are different ids (others cut them at 32)."""
    lab.start()
    ids = ["x" * 200 + str(number) for number in range(40)]
    for client_id in ids:
        lab.raw_session(client_id)
    checks.all_spliced(lab, len(ids))
    homes = {lab.broker_of(client_id) for client_id in ids}
    if len(homes) < 2:
        raise LabError(f"forty long ids all went to {homes}")


@scenario(families=(4,), modes=("tc",))
def the_command_line_names_every_flow(lab):
    """`flows list` and `flows count` show who is where; `flows kill` ends one and only one."""
    lab.start()
    held = {f"show-{number}": lab.raw_session(f"show-{number}") for number in range(9)}
    checks.all_spliced(lab, 9)
    flows = {flow["client_id"]: flow for flow in lab.gateway.flows()}
    if set(flows) != set(held):
        raise LabError(f"flows list names {sorted(flows)}")
    for client_id, flow in flows.items():
        if flow["broker_name"] != lab.broker_of(client_id):
            raise LabError(f"{client_id} is at {lab.broker_of(client_id)}, flows list says {flow['broker_name']}")
    if [flow["client_id"] for flow in lab.gateway.flows("--client-id", "show-3")] != ["show-3"]:
        raise LabError("flows list --client-id shows others as well")
    if len(lab.gateway.flows("--limit", "2")) != 2:
        raise LabError("flows list --limit 2 shows more or fewer")
    lab.gateway.command("flows", "kill", "--client-id", "show-3")
    victim = held.pop("show-3")
    if clients.mqtt.closed_within(victim, 3) is None:
        raise LabError("the killed flow's client was not told")
    for connection in held.values():
        clients.ping(connection)
