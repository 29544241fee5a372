"""The smallest page of the same Gradio, as something to compare our first page with."""

from __future__ import annotations

import argparse

import gradio as gr
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def alive(_: Request) -> Response:
    return Response("alive")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--host")
    args = parser.parse_args()
    with gr.Blocks(title="Bare", analytics_enabled=False) as blocks:
        gr.HTML("<p id='bare'>Once upon a time.</p>")
    blocks.launch(server_name=args.host, server_port=args.port, ssr_mode=False, quiet=True, share=False,
                  app_kwargs={"routes": [Route("/unfold/alive", alive)]})
