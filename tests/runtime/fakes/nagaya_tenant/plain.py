"""The plain start of the stand-in."""

import json
import os

from nagaya_tenant.tenant import main

main(json.loads(os.environ["NAGAYA_SPAWN"]), [int(item) for item in os.environ["NAGAYA_FDS"].split(",")])
