"""Serves the number of connections of each pod as the API of custom metrics, in a pod: for the autoscaler.

It stands for prometheus-adapter, and knows one metric of one namespace.
"""

import ssl
import time
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

GROUP = "custom.metrics.k8s.io/v1beta2"
METRIC = "trelay_experience_connections"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


async def resources(_: web.Request) -> web.Response:
    """List the metric, which the autoscaler looks for."""
    kind = {"kind": "MetricValueList", "namespaced": True, "verbs": ["get"]}
    found = {"name": f"pods/{METRIC}", "singularName": "", **kind}
    answer = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP, "resources": [found]}
    return web.json_response(answer)


async def values(request: web.Request) -> web.Response:
    """Return the metric of each pod that the selector of the autoscaler selects."""
    namespace = request.match_info["namespace"]
    async with aiohttp.ClientSession() as session:
        pods = await _pods(session, namespace, request.query.get("labelSelector", ""))
        items = [
            {
                "describedObject": {"kind": "Pod", "namespace": namespace, "name": name, "apiVersion": "/v1"},
                "metric": {"name": METRIC},
                "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "value": str(int(await _connections(session, address))),
            }
            for name, address in pods.items()
        ]
    return web.json_response({"kind": "MetricValueList", "apiVersion": GROUP, "metadata": {}, "items": items})


async def _pods(session: aiohttp.ClientSession, namespace: str, selector: str) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {Path(f'{ACCOUNT}/token').read_text()}"}
    trusted = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")
    url = f"https://kubernetes.default.svc/api/v1/namespaces/{namespace}/pods"
    async with session.get(url, params={"labelSelector": selector}, headers=headers, ssl=trusted) as answer:
        answer.raise_for_status()
        found: list[dict[str, Any]] = (await answer.json())["items"]
    return {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in found if pod["status"]["phase"] == "Running"}


async def _connections(session: aiohttp.ClientSession, address: str) -> float:
    async with session.get(f"http://{address}:9090/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.split("{")[0].split(" ")[0] == METRIC)


def main() -> None:
    """Serve until SIGTERM."""
    trusted = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trusted.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
    app = web.Application()
    app.router.add_get(f"/apis/{GROUP}", resources)
    app.router.add_get(f"/apis/{GROUP}/namespaces/{{namespace}}/pods/*/{METRIC}", values)
    web.run_app(app, port=6443, ssl_context=trusted, print=None)


if __name__ == "__main__":
    main()
