"""Live operations of pipelines: what operators ask, what each partition has carried out, and what all replicas show."""
