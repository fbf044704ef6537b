"""Sales with inventory and pricing: one agent talks to the customer while others mind stock and prices.

The floor price is confidential: the agent that talks to customers cannot leak what it cannot read.
"""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hub import Hub, Refused, agents, say


def run(sales: Hub, inventory: Hub, pricing: Hub) -> dict[str, Any]:
    """The story; what came of it."""
    offer = f"offer-{uuid.uuid4().hex[:8]}"
    stock, floor, quote = f"{offer}:stock", f"{offer}:floor", f"{offer}:quote"

    inventory.create(stock, {"item": "tent", "free": 1, "reserved_by": []})
    pricing.create(floor, {"item": "tent", "lowest": 149.0}, sensitivity="confidential", compartments=["finance"])
    say("inventory", "there is one tent left")
    try:
        sales.get(f"facts/{floor}")
        leaked = True
    except Refused as refused:
        leaked = False
        say("sales", f"asked for the floor price: {refused.status}, as if there were none")

    sales.post("tasks", key=offer, title="Two customers want a tent", metadata={"item": "tent"})
    lease = sales.post(f"tasks/{offer}/claim", ttl_seconds=120)
    sales.post(
        "observations",
        task=offer,
        content={"customer": "Grace", "offers": 150.0},
        tags=["negotiation"],
        token=lease["token"],
    )

    # Pricing answers with what sales may know: the price, not the floor.
    offered = pricing.get("observations", task=offer, tags="negotiation")["results"][0]["content"]["offers"]
    lowest = pricing.get(f"facts/{floor}")["value"]["lowest"]
    pricing.create(
        quote, {"item": "tent", "accept": offered >= lowest}, task=offer, ttl_seconds=900, sensitivity="internal"
    )
    accepted = sales.get(f"facts/{quote}")["value"]["accept"]
    say("pricing", f"{offered} is {'enough' if accepted else 'too little'}")

    # Two orders for the last one at the same moment: compare-and-set lets one through.
    with ThreadPoolExecutor(2) as pool:
        got = list(pool.map(lambda who: reserve(Hub(sales._key, sales._address), stock, who), ("Grace", "Hugo")))
    say("sales", f"reserved for Grace: {got[0]}, for Hugo: {got[1]}")

    done = sales.post(f"tasks/{offer}/complete", token=lease["token"], outcome={"sold": sum(got)})
    try:
        sales.post("observations", task=offer, content="late", token=lease["token"])
        fenced = ""
    except Refused as refused:
        fenced = refused.code
        say("sales", f"a write with the token of a lease that is over: {fenced}")
    history = inventory.get(f"facts/{stock}/history")["results"]
    return {
        "leaked": leaked,
        "accepted": accepted,
        "reserved": got,
        "stock": inventory.get(f"facts/{stock}")["value"],
        "versions": [row["version"] for row in history],
        "status": done["status"],
        "fenced": fenced,
    }


def reserve(hub: Hub, key: str, customer: str) -> bool:
    """Take one of what is free, however many try at once; False when nothing is."""
    while True:
        stock = hub.get(f"facts/{key}")["value"]
        if not stock["free"]:
            return False
        taken = {**stock, "free": stock["free"] - 1, "reserved_by": [*stock["reserved_by"], customer]}
        try:
            hub.change(key, taken, hub.etag)
            return True
        except Refused as refused:
            if refused.code != "precondition_failed":
                raise


if __name__ == "__main__":
    run(**agents("sales", "inventory", "pricing"))
