"""`valence bench fetch`: fetches between two caches of its own cluster beside bare transfers, and says so as JSON."""
import json

import lib
from lib import check, equal, finish, valence

rc, out, err = valence("bench", "fetch", "--mib", "4", "--rounds", "2", "--base-port", lib.PORT_BASE, "--json", "--",
                       *lib.SLOW_FLAGS, timeout=120 * lib.SLOW)
check(rc == 0, "exit status", rc, err)
said = json.loads(out)
equal("the default fabric has no remote memory: one measurement", len(said["measurements"]), 1)
for m in said["measurements"]:
    check(m["fetch_mb_per_s"] > 0 and m["library_mb_per_s"] > 0 and m["tcp_mb_per_s"] > 0, "rates", m)
    check(m["holder_us_per_mib"] > 0 and m["requester_us_per_mib"] > 0, "processor time", m)
    equal("images were sent", m["read_part"], 0)
    # a ratio is of the two figures beside it
    check(abs(m["ratio_to_library"] - m["fetch_mb_per_s"] / m["library_mb_per_s"]) < 0.01, "ratio", m)
    print("     %s: %.2f of the library alone, %.2f of TCP; %.0f us of the holder for each MiB"
          % (said["fabric"], m["ratio_to_library"], m["ratio_to_tcp"], m["holder_us_per_mib"]))
rc, out, err = valence("bench", "fetch", "--mib", "0")
equal("a size of nothing is refused", rc, 2)
finish()
