"""`valence bench tree`: the bounds of the relay tree, with the relays of 9, 64 and 1,000 engines over simulated links."""
import json

from lib import SLOW, check, equal, finish, has, valence


def bounds(voters, fan_out, *more):
    rc, out, err = valence("bench", "tree", "--voters", str(voters), "--fan-out", str(fan_out), "--records", "100", "--json",
                           *more, timeout=60 * SLOW)
    if not check(rc == 0, "exit status", rc, err):
        return []
    trees = json.loads(out)["trees"]
    for t in trees:
        name = "%d engines, %d voters, fan-out %d: " % (t["engines"], voters, fan_out)
        check(t["links_max"] <= fan_out + 1, name + "links", t)
        check(t["voter_links_max"] <= fan_out + voters - 1, name + "links of a voter", t)
        check(t["children_max"] <= fan_out, name + "children", t)
        equal(name + "hops are those of a full tree", t["hops_max"], t["hops_full_tree"])
        check(1 <= t["bytes_ratio_max"] <= 1.2, name + "bytes out for each that is wanted", t)
        check(t["hops_max"] * 100 <= t["reach_max_us"] <= 1.2 * t["hops_max"] * t["hop_us"], name + "time to all", t)
        equal(name + "suspicions", t["suspects"], 0)
        if t["stopped_relay_children"]:
            check(t["stopped_relay_ms"] < 500, name + "a stopped relay holds up its children for long", t)
        print("     %slinks %d, hops %d, bytes %.3f, %.0f us to all, stopped relay %.0f ms" % (
            name, t["links_max"], t["hops_max"], t["bytes_ratio_max"], t["reach_max_us"], t["stopped_relay_ms"]))
    return trees


equal("sizes", [t["engines"] for t in bounds(3, 8)], [9, 64, 1000])
trees = bounds(1, 2, "--engines", "9,64,500")
check(any(t["stopped_relay_children"] for t in trees), "a relay was stopped")

rc, out, err = valence("bench", "tree", "--engines", "9,64", "--records", "20")
equal("as text: exit status", rc, 0)
has("as text", out, "64 engines, 3 of them voters, fan-out 8")
for wrong in (["--engines", "3"], ["--engines", "9,,64"], ["--fan-out", "0"], ["--payload", "3"], ["what"]):
    equal("wrong usage: " + " ".join(wrong), valence("bench", "tree", *wrong)[0], 2)
finish()
