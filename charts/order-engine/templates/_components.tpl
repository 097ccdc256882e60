{{/*
The nine workloads and the migration: name -> what its deployable opens (as in
execution/deployables.py), and its `values` after the merge of the three layers.
*/}}
{{- define "order-engine.components" -}}
{{- $statuses := .Values.statusDispatcher.statuses -}}
{{- $expected := list "building" "confirmed" "failed" "pending" "routing" "submitted" -}}
{{- if ne (keys $statuses | sortAlpha | join ", ") ($expected | join ", ") -}}
{{- fail (printf "statusDispatcher.statuses must be exactly the statuses of an order (%s), not: %s" ($expected | join ", ") (keys $statuses | sortAlpha | join ", ")) -}}
{{- end -}}
{{- $components := dict
  "gateway" (dict
    "group" .Values.gateway
    "urls" (list "DATABASE_URL" "REDIS_URL" "REDIS_QUEUE_URL")
    "schemas" (list "orders")
    "isDoor" true)
  "order-worker" (dict
    "group" .Values.orderWorker
    "urls" (list "DATABASE_URL" "CHAIN_DATABASE_URL" "REDIS_URL" "REDIS_QUEUE_URL")
    "schemas" (list "orders" "chain")
    "job" (list "VENUE_QUOTE_LATENCY_S" "VENUE_QUOTE_JITTER_S" "VENUE_EXECUTION_MAX_S" "VENUE_POLL_S")
    "queue" (dict "name" "orders" "slots" "QUEUE_MAX_CONCURRENCY" "limit" "QUEUE_RATE_LIMIT_PER_MINUTE"))
  "ws-gateway" (dict
    "group" .Values.wsGateway
    "urls" (list "DATABASE_URL" "REDIS_URL" "REDIS_PUBSUB_URL")
    "schemas" (list "orders")
    "isDoor" true)
  "migrate" (dict
    "group" .Values.migration
    "urls" (list "DATABASE_URL" "CHAIN_DATABASE_URL")
    "args" (list "--within" (include "order-engine.text" .Values.migration.withinSeconds)))
-}}
{{- range $status, $item := $statuses -}}
{{- $_ := set $components (printf "status-dispatcher-%s" $status) (dict
    "group" (omit $.Values.statusDispatcher "statuses")
    "item" $item
    "urls" (list "REDIS_URL" "REDIS_QUEUE_URL" "REDIS_PUBSUB_URL")
    "args" (list "--status" $status)
    "queue" (dict "name" (printf "order-status-%s" $status) "slots" "WS_WORKER_CONCURRENCY" "limit" "WS_WORKER_RATE_LIMIT")) -}}
{{- end -}}
{{- range $name, $component := $components -}}
{{- $values := dict -}}
{{- range $layer := list $.Values.defaults $component.group ($component.item | default dict) -}}
{{- $given := deepCopy $layer -}}
{{- include "order-engine.without-nulls" $given -}}
{{- $values = mustMergeOverwrite $values $given -}}
{{- end -}}
{{- $_ := set $component "values" $values -}}
{{- $_ := unset $component "group" -}}
{{- $_ := unset $component "item" -}}
{{- if ne $name "migrate" -}}
{{- include "order-engine.check" (dict "name" $name "component" $component) -}}
{{- $grace := $values.terminationGracePeriodSeconds | default (include "order-engine.leaving-seconds" $component | int) -}}
{{- $_ := set $values "terminationGracePeriodSeconds" $grace -}}
{{- end -}}
{{- end -}}
{{- toYaml $components -}}
{{- end }}

{{/* Whether a component opens a store. Takes component, store: DATABASE or REDIS. Empty: no. */}}
{{- define "order-engine.opens" -}}
{{- if contains .store (join " " .component.urls) }}true{{ end -}}
{{- end }}
