"""Rules, runbooks and dashboards agree with each other and with the metrics of the code."""
