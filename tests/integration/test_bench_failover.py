"""`valence bench failover`: over every fabric without devices, each fault is measured to its end, in time."""
import json
import os

import lib
from lib import check, equal, finish, valence

ROUNDS = 20 if os.environ.get("VALENCE_LONG") else 2
# What a removal may take at most, generous on a busy machine: a kill is told at once, the others by the heartbeat limit.
LIMIT_MS = {"kill": 500, "pause": 5000, "cut": 5000}

rc, out, err = valence("bench", "fabric", "--list", "--json")
equal("--list: exit status", rc, 0)
fabrics = [f["fabric"] for f in json.loads(out)["fabrics"] if f["fabric"].endswith(":tcp")]

rc, out, err = valence("bench", "failover", "--rounds", ROUNDS, "--base-port", lib.PORT_BASE, "--json", "--", *lib.SLOW_FLAGS,
                       timeout=60 + 30 * ROUNDS)
check(rc == 0, "exit status", rc, err)
measured = json.loads(out)["fabrics"]
equal("all that need no device", [f["fabric"] for f in measured], fabrics)
for f in measured:
    for fault, cause in (("kill", "link lost"), ("pause", "silent"), ("cut", "silent")):
        what, got = "%s %s" % (f["fabric"], fault), f[fault]
        if "skipped" in got and fault == "cut":
            print("SKIP %s: %s" % (what, got["skipped"]))
            continue
        equal(what + ": rounds", got["rounds"], ROUNDS)
        equal(what + ": causes", got["causes"], {cause: ROUNDS})
        check(got["atoms_promoted"] >= 1, what + ": atoms were promoted", got)
        check((got["tcp_ms"] is not None) == (fault == "kill"), what + ": TCP tells of a dead process, and of nothing else", got)
        check(got["promoted_ms"]["min"] > 0 and got["promoted_ms"]["min"] >= got["removed_ms"]["min"],
              what + ": nobody gives permission before the removal", got)
        check(got["promoted_ms"]["median"] < LIMIT_MS[fault] * lib.SLOW, what + ": in time", got)
        print("     %s: removed after %.1f ms, promoted after %.1f ms (medians of %d)" % (
            what, got["removed_ms"]["median"], got["promoted_ms"]["median"], ROUNDS))
    what, got = f["fabric"] + " leader", f["leader"]
    equal(what + ": rounds", got["rounds"], ROUNDS)
    equal(what + ": causes", got["causes"], {"link lost": ROUNDS})
    check(0 < got["gap_ms"]["min"] <= got["client_ms"]["max"], what + ": one client waits as long as all do", got)
    check(got["gap_ms"]["median"] < LIMIT_MS["kill"] * lib.SLOW, what + ": in time", got)
    print("     %s: removed after %.1f ms, no commit for %.1f ms (medians of %d)" % (
        what, got["removed_ms"]["median"], got["gap_ms"]["median"], ROUNDS))
finish()
