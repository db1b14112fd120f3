{{/* What the schema cannot say: values that exclude each other. */}}
{{- define "inotify-bridge.checks" -}}
{{- if and (eq .Values.mode "daemonset") (eq .Values.persistence.type "claim") -}}
{{- fail "persistence.type: the agents of a DaemonSet cannot share a claim, each needs a state directory of its own: use hostPath" -}}
{{- end -}}
{{- if and (eq .Values.mode "deployment") (eq .Values.persistence.type "hostPath") -}}
{{- fail "persistence.type: a Deployment moves between nodes and would leave its state behind: use claim" -}}
{{- end -}}
{{- $mounts := list -}}
{{- range .Values.watch -}}
{{- $mounts = append $mounts (printf "/watch/%s" .name) -}}
{{- end -}}
{{- include "inotify-bridge-sidecar.mounted" (dict "config" .Values.config "mounts" $mounts "roots" (list "/watch")) -}}
{{- if eq .Values.persistence.type "emptyDir" -}}
{{- include "inotify-bridge-sidecar.room" (dict "config" .Values.config "limit" .Values.persistence.emptyDir.sizeLimit) -}}
{{- end -}}
{{- if and (eq .Values.persistence.type "claim") (not .Values.persistence.claim.existingClaim) -}}
{{- include "inotify-bridge-sidecar.room" (dict "config" .Values.config "limit" .Values.persistence.claim.size) -}}
{{- end -}}
{{- with dig "shutdown_timeout" "" .Values.config | toString | regexFind "^[0-9]+s$" -}}
{{- if ge (trimSuffix "s" . | int) (int $.Values.terminationGracePeriodSeconds) -}}
{{- fail (printf "terminationGracePeriodSeconds: config.shutdown_timeout is %s, and the drain would be killed" .) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.mode "daemonset") .Values.podDisruptionBudget.enabled -}}
{{- fail "podDisruptionBudget: a drain leaves the pods of a DaemonSet alone" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled -}}
{{- fail "serviceMonitor and podMonitor: one of them, or every series is there twice" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not .Values.service.enabled) -}}
{{- fail "serviceMonitor: needs service.enabled" -}}
{{- end -}}
{{- range $label := list "app.kubernetes.io/name" "app.kubernetes.io/instance" -}}
{{- if hasKey $.Values.podLabels $label -}}
{{- fail (printf "podLabels.%s: the chart sets it, and finds the pods by it" $label) -}}
{{- end -}}
{{- end -}}
{{- range $key, $items := dict "watch" .Values.watch "secrets" .Values.secrets "injection.secrets" .Values.injection.secrets -}}
{{- range $index, $item := $items -}}
{{- range slice $items 0 $index -}}
{{- if eq .name $item.name -}}
{{- fail (printf "%s: the name `%s` is there twice" $key .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range .Values.secrets -}}
{{- if and (eq .name "admin-token") $.Values.adminToken.existingSecret -}}
{{- fail "secrets: the name `admin-token` is that of adminToken" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.injection.enabled (semverCompare "<1.36-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "injection: MutatingAdmissionPolicy needs Kubernetes 1.36, this is %s" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end -}}
