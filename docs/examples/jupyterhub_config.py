"""JupyterHub with funcx-lab, for a trial on one machine: any name logs in, with the password ``trial``.

Run it in an empty directory::

    pip install "funcx-lab[all,jupyterhub]"
    npm install --prefix . configurable-http-proxy
    PATH=$PWD/node_modules/.bin:$PATH jupyterhub -f jupyterhub_config.py

Then open http://127.0.0.1:8000, log in as ``ada`` or ``eve``, and type ``%load_ext funcx_lab`` in a
notebook. For a real hub replace the parts that are marked TRIAL; docs/jupyterhub.md tells with what.
"""

import os
import sys
from pathlib import Path

c = get_config()  # noqa: F821  # JupyterHub provides it

# --- TRIAL: who may log in, where servers run, under which address -----------------------------------

HERE = Path(os.environ.get("FUNCX_TRIAL_DIRECTORY", ".")).absolute()
PORT = int(os.environ.get("FUNCX_TRIAL_PORT", "8000"))
PUBLIC = f"127.0.0.1:{PORT}"
ADDRESS = f"http://{PUBLIC}"

c.JupyterHub.bind_url = ADDRESS
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "trial"  # noqa: S105  # a trial's
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {"admin"}
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = str(HERE / "homes" / "{username}")
c.Spawner.notebook_dir = "~"
c.Spawner.args = ["--allow-root"] if os.geteuid() == 0 else []
c.JupyterHub.load_groups = {"physics": {"users": ["ada", "eve"]}}

# --- the service ------------------------------------------------------------------------------------

FUNCX = "funcx"
SCOPES = ["custom:funcx:read", "custom:funcx:submit", "custom:funcx:endpoints"]
ACCESS = f"access:services!service={FUNCX}"

c.JupyterHub.custom_scopes = {
    "custom:funcx:read": {"description": "See one's own tasks, functions and endpoints"},
    "custom:funcx:submit": {"description": "Submit and cancel tasks", "subscopes": ["custom:funcx:read"]},
    "custom:funcx:endpoints": {
        "description": "Register, share and delete endpoints",
        "subscopes": ["custom:funcx:read"],
    },
}
c.JupyterHub.services = [
    {
        "name": FUNCX,
        "url": os.environ.get("FUNCX_TRIAL_SERVICE", "http://127.0.0.1:10101"),
        "command": [
            *(sys.executable, "-m", "funcx_lab_hub_service"),
            *("--data", str(HERE / "funcx-data")),
            *("--public-host", PUBLIC),
        ],
        "oauth_no_confirm": True,
        # What a browser's session may do there.
        "oauth_client_allowed_scopes": SCOPES,
    }
]
c.JupyterHub.load_roles = [
    # Everybody uses the service, and registers endpoints. To let only some people register,
    # leave `custom:funcx:endpoints` out here and give it to their group in a role of its own.
    {"name": "user", "scopes": ["self", ACCESS, *SCOPES]},
]

# --- notebooks: %%funcx works in them without a login ----------------------------------------------------

c.Spawner.environment = {"FUNCX_LAB_JUPYTERHUB_URL": f"{ADDRESS}/services/{FUNCX}"}
c.Spawner.server_token_scopes = [
    "users:activity!user",
    "access:servers!server",
    ACCESS,
    *SCOPES,
]
