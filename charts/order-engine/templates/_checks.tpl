{{/* Stops the rendering of what a component must not be. Takes name, component. */}}
{{- define "order-engine.check" -}}
{{- $values := .component.values -}}
{{- $autoscaling := $values.autoscaling -}}

{{- $sleep := int $values.preStopSleepSeconds -}}
{{- $drain := int $values.drainSeconds -}}
{{- $leaving := include "order-engine.leaving-seconds" .component | int -}}
{{- with $values.terminationGracePeriodSeconds -}}
{{- if lt (int .) $leaving -}}
{{- fail (printf "%s: terminationGracePeriodSeconds is %d, but leaving takes up to %d s (preStopSleepSeconds %d, drainSeconds %d, and %d to end)" $.name (int .) $leaving $sleep $drain (sub (sub $leaving $sleep) $drain)) -}}
{{- end -}}
{{- end -}}

{{- with .component.job -}}
{{- $longest := 0 -}}
{{- range . -}}
{{- $longest = addf $longest (index $values.config .) -}}
{{- end -}}
{{- $inHand := mulf 0.8 $values.drainSeconds -}}
{{- if lt $inHand $longest -}}
{{- fail (printf "%s: of drainSeconds %d orders in hand get %v s, but one may take %v s (%s)" $.name $drain $inHand $longest (join " + " .)) -}}
{{- end -}}
{{- end -}}

{{- /* recovery needs an order-worker, and nobody but its dispatcher publishes a status */ -}}
{{- $isScaled := or $autoscaling.hpa.enabled $autoscaling.keda.enabled -}}
{{- if and .component.queue (not $isScaled) (eq (toString $values.replicas) "0") -}}
{{- fail (printf "%s: replicas is 0, but one is needed at any time" .name) -}}
{{- end -}}

{{- if and $autoscaling.hpa.enabled $autoscaling.keda.enabled -}}
{{- fail (printf "%s: autoscaling.hpa and autoscaling.keda are both enabled; a Deployment has one autoscaler" .name) -}}
{{- end -}}
{{- if gt (int $autoscaling.minReplicas) (int $autoscaling.maxReplicas) -}}
{{- fail (printf "%s: autoscaling.minReplicas is above maxReplicas" .name) -}}
{{- end -}}
{{- if and $autoscaling.hpa.enabled (not (dig "requests" "cpu" "" $values.resources)) -}}
{{- fail (printf "%s: autoscaling.hpa needs resources.requests.cpu, of which its target is a share" .name) -}}
{{- end -}}

{{- if $autoscaling.keda.enabled -}}
{{- if not (or .component.queue $autoscaling.keda.perReplica) -}}
{{- fail (printf "%s: autoscaling.keda.perReplica is null, but no setting says what one replica carries" .name) -}}
{{- end -}}
{{- $onLength := eq $autoscaling.keda.scaleOn "queueLength" -}}
{{- range $autoscaling.keda.triggers -}}
{{- $onLength = or $onLength (hasPrefix "redis" .type) -}}
{{- end -}}
{{- if and $onLength (not .component.queue) -}}
{{- fail (printf "%s: autoscaling.keda.scaleOn is queueLength, but it has no queue" .name) -}}
{{- end -}}
{{- if and $onLength (index $values.config .component.queue.limit) -}}
{{- fail (printf "%s: scaling on plain queue length meets a rate limit, which more replicas do not lift: let autoscaling.keda.scaleOn be demand, or %s be 0" .name .component.queue.limit) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* How long the pods of a component may take to leave. */}}
{{- define "order-engine.leaving-seconds" -}}
{{- /* when it has drained, a door answers what it has accepted for up to 10 s more (serving.py) */ -}}
{{- $answering := ternary 10 0 (eq .isDoor true) -}}
{{- add .values.preStopSleepSeconds .values.drainSeconds $answering 5 -}}
{{- end }}

{{/* Stops the rendering of what the whole release must not be. */}}
{{- define "order-engine.check-release" -}}
{{- range $store, $schemes := dict "postgres" (list "postgresql://" "postgres://") "redis" (list "redis://" "rediss://") -}}
{{- $given := index $.Values $store -}}
{{- range $key, $url := pick $given "url" "chainUrl" "queueUrl" "pubsubUrl" -}}
{{- if and $url (not $given.url) -}}
{{- fail (printf "%s.%s is given without %s.url, so nobody would read it" $store $key $store) -}}
{{- end -}}
{{- /* here and not in the schema, which would say the URL with its password */ -}}
{{- if and $url (not (regexMatch (printf "^(%s)" (join "|" $schemes)) $url)) -}}
{{- fail (printf "%s.%s must begin with %s" $store $key (join " or " $schemes)) -}}
{{- end -}}
{{- end -}}
{{- $ways := list (not (empty $given.url)) (not (empty $given.secret.name)) (index $.Values.development $store).enabled -}}
{{- $count := without $ways false | len -}}
{{- if ne $count 1 -}}
{{- fail (printf "%s: give exactly one of %s.secret.name, %s.url and development.%s.enabled (values-dev.yaml); %d are given" $store $store $store $store $count) -}}
{{- end -}}
{{- if and $.Values.production (not $given.secret.name) -}}
{{- fail (printf "production needs %s.secret.name: no URL in the values, no development datastore" $store) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.postgres.tls.mode "verify-ca") (not .Values.postgres.tls.caSecret) -}}
{{- fail "postgres.tls.mode verify-ca needs postgres.tls.caSecret: an authority that signs for everybody proves nothing without the name" -}}
{{- end -}}
{{- if and .Values.production (eq .Values.auth "open") -}}
{{- fail "production needs auth: keys" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.hosts is empty" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs is empty" -}}
{{- end -}}
{{- end }}
