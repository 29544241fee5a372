"""What the browser shows.

`page_data.py` turns the catalogue into plain data, `serve.py` runs engines in a bounded pool and cuts
their events into frames, `host.py` is the one Gradio component and the routes beside it. The folders
hold ES modules: `shell/` (header, exhibit page, controls, links), `home/`, `claim/`, and the viewer
(`player/`, `stage/`, `timeline/`, `inspector/`), which knows nothing of Gradio.
"""
