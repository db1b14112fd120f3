"""The façade `inotify_bridge.pyinotify`, beside the original and in its place."""
