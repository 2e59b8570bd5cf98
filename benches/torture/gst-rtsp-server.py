#!/usr/bin/python3
"""gst-rtsp-server to run the torture suite against: plays /torture, records to
what the vectors call their own streams.

Debian: apt-get install gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-bad \
        gstreamer1.0-plugins-ugly
Then:   benches/torture/gst-rtsp-server.py 8555 &
        cargo run --release -p easydarwin-benches --bin rtsp-torture -- \
            rtsp://127.0.0.1:8555/torture --existing --table
"""
import pathlib
import re
import sys
import tomllib

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PLAY = (
    "( videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=15/1 "
    "! x264enc tune=zerolatency key-int-max=15 speed-preset=ultrafast "
    "! rtph264pay name=pay0 pt=96 )"
)
RECORD = {
    "h264": "( rtph264depay name=depay0 ! h264parse ! fakesink sync=false )",
    "h265": "( rtph265depay name=depay0 ! h265parse ! fakesink sync=false )",
}


def publishers():
    """The paths to which vectors publish, and the codec."""
    for file in sorted(pathlib.Path(__file__).parent.glob("*.toml")):
        for vector in tomllib.loads(file.read_text())["vector"]:
            codec = "h265" if vector.get("state") == "recording-h265" else "h264"
            yield f"/torture-publisher-{file.stem}-{vector['name']}", codec
            for text in vector["send"]:
                for suffix in re.findall(r"{url}(-[\w-]+)", text):
                    yield f"/torture{suffix}", codec


def factory(launch, mode):
    made = GstRtspServer.RTSPMediaFactory()
    made.set_launch(launch)
    made.set_transport_mode(mode)
    # A pipeline for each client: what one vector does to it is not seen by the next.
    made.set_shared(False)
    return made


def main():
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1] if len(sys.argv) > 1 else "8555")
    mounts = server.get_mount_points()
    mode = GstRtspServer.RTSPTransportMode
    mounts.add_factory("/torture", factory(PLAY, mode.PLAY))
    for path, codec in publishers():
        mounts.add_factory(path, factory(RECORD[codec], mode.RECORD))
    if server.attach(None) == 0:
        sys.exit("the port is in use")
    print(f"{Gst.version_string()}, gst-rtsp-server at {server.get_bound_port()}", flush=True)
    GLib.MainLoop().run()


main()
