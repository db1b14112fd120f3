"""What watches the agents: recording rules, and Grafana boards that are generated from `boards`."""
