{{/* Fails when the values of a component are invalid. Takes name, component. */}}
{{- define "order-engine.check" -}}
{{- $values := .component.values -}}
{{- $autoscaling := $values.autoscaling -}}

{{- $sleep := int $values.preStopSleepSeconds -}}
{{- $drain := int $values.drainSeconds -}}
{{- $leaving := include "order-engine.leaving-seconds" .component | int -}}
{{- with $values.terminationGracePeriodSeconds -}}
{{- if lt (int .) $leaving -}}
{{- fail (printf "%s: terminationGracePeriodSeconds is %d, but a pod needs up to %d s to stop (preStopSleepSeconds %d, drainSeconds %d, and %d to end)" $.name (int .) $leaving $sleep $drain (sub (sub $leaving $sleep) $drain)) -}}
{{- end -}}
{{- end -}}

{{- with .component.job -}}
{{- $longest := 0 -}}
{{- range . -}}
{{- $longest = addf $longest (index $values.config .) -}}
{{- end -}}
{{- $inHand := mulf 0.8 $values.drainSeconds -}}
{{- if lt $inHand $longest -}}
{{- fail (printf "%s: with drainSeconds %d an order has %v s to finish, but may need %v s (%s)" $.name $drain $inHand $longest (join " + " .)) -}}
{{- end -}}
{{- end -}}

{{- /* recovery needs an order-worker, and only its dispatcher publishes a status */ -}}
{{- $isScaled := or $autoscaling.hpa.enabled $autoscaling.keda.enabled -}}
{{- if and .component.queue (not $isScaled) (eq (toString $values.replicas) "0") -}}
{{- fail (printf "%s: replicas is 0, but at least one is always needed" .name) -}}
{{- end -}}

{{- if and $autoscaling.hpa.enabled $autoscaling.keda.enabled -}}
{{- fail (printf "%s: autoscaling.hpa and autoscaling.keda are both enabled; enable at most one" .name) -}}
{{- end -}}
{{- if gt (int $autoscaling.minReplicas) (int $autoscaling.maxReplicas) -}}
{{- fail (printf "%s: autoscaling.minReplicas is above maxReplicas" .name) -}}
{{- end -}}
{{- if and $autoscaling.hpa.enabled (not (dig "requests" "cpu" "" $values.resources)) -}}
{{- fail (printf "%s: autoscaling.hpa needs resources.requests.cpu, because its target is a share of it" .name) -}}
{{- end -}}

{{- if $autoscaling.keda.enabled -}}
{{- if not (or .component.queue $autoscaling.keda.perReplica) -}}
{{- fail (printf "%s: autoscaling.keda.perReplica is required, because no setting limits the load of one replica" .name) -}}
{{- end -}}
{{- $onLength := eq $autoscaling.keda.scaleOn "queueLength" -}}
{{- range $autoscaling.keda.triggers -}}
{{- $onLength = or $onLength (hasPrefix "redis" .type) -}}
{{- end -}}
{{- if and $onLength (not .component.queue) -}}
{{- fail (printf "%s: autoscaling.keda.scaleOn is queueLength, but this workload has no queue" .name) -}}
{{- end -}}
{{- if and $onLength (index $values.config .component.queue.limit) -}}
{{- fail (printf "%s: scaling by queue length is useless with a rate limit, which more replicas do not raise: set autoscaling.keda.scaleOn to demand, or %s to 0" .name .component.queue.limit) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* How long a pod of a component may take to stop. */}}
{{- define "order-engine.leaving-seconds" -}}
{{- /* after the drain a public server has up to 10 s to answer the requests that it has accepted */ -}}
{{- $answering := ternary 10 0 (eq .isDoor true) -}}
{{- add .values.preStopSleepSeconds .values.drainSeconds $answering 5 -}}
{{- end }}

{{/* Fails when the values of the release are invalid. */}}
{{- define "order-engine.check-release" -}}
{{- range $store, $schemes := dict "postgres" (list "postgresql://" "postgres://") "redis" (list "redis://" "rediss://") -}}
{{- $given := index $.Values $store -}}
{{- range $key, $url := pick $given "url" "chainUrl" "queueUrl" "pubsubUrl" -}}
{{- if and $url (not $given.url) -}}
{{- fail (printf "%s.%s needs %s.url too" $store $key $store) -}}
{{- end -}}
{{- /* not in the schema, whose error would show the URL with its password */ -}}
{{- if and $url (not (regexMatch (printf "^(%s)" (join "|" $schemes)) $url)) -}}
{{- fail (printf "%s.%s must begin with %s" $store $key (join " or " $schemes)) -}}
{{- end -}}
{{- end -}}
{{- $ways := list (not (empty $given.url)) (not (empty $given.secret.name)) (index $.Values.development $store).enabled -}}
{{- $count := without $ways false | len -}}
{{- if ne $count 1 -}}
{{- fail (printf "%s: set exactly one of %s.secret.name, %s.url and development.%s.enabled (values-dev.yaml); %d are set" $store $store $store $store $count) -}}
{{- end -}}
{{- if and $.Values.production (not $given.secret.name) -}}
{{- fail (printf "production needs %s.secret.name: URLs in the values and development datastores are not allowed" $store) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.postgres.tls.mode "verify-ca") (not .Values.postgres.tls.caSecret) -}}
{{- fail "postgres.tls.mode verify-ca needs postgres.tls.caSecret: with public authorities it proves nothing, because the host name is not checked" -}}
{{- end -}}
{{- if and .Values.production (eq .Values.auth "open") -}}
{{- fail "production needs auth: keys" -}}
{{- end -}}
{{- $worker := merge (dict) (.Values.orderWorker.config | default dict) (.Values.defaults.config | default dict) -}}
{{- if and .Values.production (eq (toString $worker.VENUE_PRICE_BOARD | lower) "true") -}}
{{- fail "production needs config.VENUE_PRICE_BOARD to be false: anyone with the chain's database could set prices" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.hosts is empty" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs is empty" -}}
{{- end -}}
{{- end }}
