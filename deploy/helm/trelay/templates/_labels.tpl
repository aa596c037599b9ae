{{- define "trelay.labels" -}}
app.kubernetes.io/name: trelay
app.kubernetes.io/part-of: trelay
{{- end }}
