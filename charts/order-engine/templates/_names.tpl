{{/*
Leaves space for the longest suffix, -status-dispatcher-submitted, within 63 characters. A name that
is cut ends in a hash, so that two long names with the same beginning stay different.
*/}}
{{- define "order-engine.fullname" -}}
{{- $own := ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{- $name := .Values.fullnameOverride | default $own -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "%s cannot begin the names of Services: give fullnameOverride" $name) -}}
{{- end -}}
{{- if gt (len $name) 35 -}}
{{- $name = printf "%s-%s" ($name | trunc 28 | trimSuffix "-") ($name | sha256sum | trunc 6) -}}
{{- end -}}
{{- $name -}}
{{- end }}

{{/* The labels of a selector, which never change. Takes root, name. */}}
{{- define "order-engine.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{/* Takes root, name. */}}
{{- define "order-engine.labels" -}}
{{ include "order-engine.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The metadata of any object. Takes root, name; annotations, suffix (of the object's name, its component by default). */}}
{{- define "order-engine.metadata" -}}
name: {{ include "order-engine.fullname" .root }}-{{ .suffix | default .name }}
labels:
  {{- include "order-engine.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- include "order-engine.strings" . | nindent 2 }}
  {{- end }}
{{- with .annotations }}
annotations:
  {{- include "order-engine.strings" . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A number as it was written: a template prints 1000000 as 1e+06. */}}
{{- define "order-engine.text" -}}
{{- ternary . (toJson .) (kindIs "string" .) -}}
{{- end }}

{{/* A map whose values must be strings: true and 9100 become "true" and "9100". */}}
{{- define "order-engine.strings" -}}
{{- $strings := dict -}}
{{- range $key, $value := . -}}
{{- $_ := set $strings $key (include "order-engine.text" $value) -}}
{{- end -}}
{{- toYaml $strings -}}
{{- end }}
