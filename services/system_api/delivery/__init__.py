"""Direct delivery: events go to `POST /entity` of the experience layer, with no bus between the layers."""
