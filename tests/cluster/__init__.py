"""The charts in a real Kubernetes, from the API server to the kubelet, on this machine: see cluster.py."""
