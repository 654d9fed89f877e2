"""Take the pictures of docs/images: JupyterLab, dashboards and JupyterHub, against services of their own."""
