"""The door of the web processes."""

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "titanic_site.settings")

application = get_wsgi_application()

# A batch makes tens of thousands of objects, none of them in a cycle: to look for cycles after every 700 of them took a
# tenth of its time. What is there now stays, and is not looked at again.
gc.freeze()
gc.set_threshold(50_000, 20, 20)
