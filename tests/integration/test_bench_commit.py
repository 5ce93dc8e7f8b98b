"""`valence bench commit`: figures of both clusters that fit together, and nothing left behind."""
import json
import os

import lib
from lib import check, equal, finish, valence

rc, out, err = valence("bench", "commit", "--clients", 2, "--rounds", 1, "--base-port", lib.PORT_BASE, "--json", "--",
                       *lib.SLOW_FLAGS, timeout=120)
check(rc == 0, "exit status", rc, err)
rows = json.loads(out)["measurements"]
equal("clusters", [(r["archives"], r["clients"]) for r in rows], [(1, 2), (3, 2)])
for r in rows:
    what = "%d archives" % r["archives"]
    check(0 < r["median_ms"] <= r["p99_ms"], what + ": times", r)
    check(r["commits_per_s"] > 1 and r["syncs_per_s"] > 1, what + ": rates", r)
    # two clients wait for their answers, one after another each
    check(r["commits_per_s"] * r["median_ms"] / 1000 < 2 * 20, what + ": rate and time fit together", r)
    print("     %s: %.0f commits/s, median %.2f ms; a sync alone %.2f ms" % (
        what, r["commits_per_s"], r["median_ms"], r["sync_median_ms"]))
equal("directories left", [d for d in os.listdir(os.environ.get("TMPDIR", "/tmp")) if d.startswith("valence-commit-")], [])
for args, words in ((("--archives", "2"), "1 or 3"), (("--clients", "0"), "not a number"), (("--fabric", "x"), "not in this build")):
    rc, _, err = valence("bench", "commit", *args)
    check(rc == 2 and words in err, "wrong usage: " + " ".join(args), rc, err)
finish()
