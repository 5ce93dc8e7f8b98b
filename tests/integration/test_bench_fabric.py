"""`valence bench fabric`: measures every fabric of the build beside its library and plain TCP, and says so as JSON."""
import json

from lib import check, equal, finish, valence

MEASURES = ("round_trip_64_us", "messages_64_per_s", "bulk_64k_mb_per_s", "bulk_1m_mb_per_s")

rc, out, err = valence("bench", "fabric", "--list", "--json")
equal("--list: exit status", rc, 0)
fabrics = [f["fabric"] for f in json.loads(out)["fabrics"]]
check(fabrics, "--list: fabrics", out, err)

rc, out, err = valence("bench", "fabric", "--rounds", "1", "--json", timeout=120)
check(rc == 0, "exit status", rc, err)
measured = json.loads(out)["fabrics"]
equal("all that need no device", [f["fabric"] for f in measured], [f for f in fabrics if f.endswith(":tcp")])
for f in measured:
    for m in MEASURES:
        check(f[m]["valence"] > 0 and f[m]["library"] > 0 and f[m]["tcp"] > 0, "%s %s" % (f["fabric"], m), f[m])
        # a ratio is of the two figures beside it
        check(abs(f[m]["ratio_to_library"] - f[m]["valence"] / f[m]["library"]) < 0.01, "%s %s: ratio" % (f["fabric"], m),
              f[m])
    print("     %s: %s of the library alone" % (f["fabric"], ", ".join(
        "%s %.2f" % (m, f[m]["ratio_to_library"]) for m in MEASURES)))
finish()
