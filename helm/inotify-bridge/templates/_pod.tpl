{{/* The pod of both modes: metadata and spec of a pod template. */}}
{{- define "inotify-bridge.pod" -}}
metadata:
  labels:
    {{- include "inotify-bridge.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: inotify-bridge
    {{- if eq .Values.onConfigChange "restart" }}
    checksum/config: {{ include "inotify-bridge.config" . | sha256sum }}
    {{- end }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "inotify-bridge.serviceAccountName" . }}
  # The agent never asks the Kubernetes API.
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  {{- if and (eq .Values.persistence.type "hostPath") .Values.persistence.hostPath.prepare }}
  initContainers:
    # The kubelet makes a missing directory for root alone.
    - name: state-directory
      image: {{ include "inotify-bridge.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      command:
        - python3
        - -c
        - import os, sys; os.chown("/state", int(sys.argv[1]), int(sys.argv[2])); os.chmod("/state", 0o700)
        {{- $runs := mergeOverwrite (deepCopy .Values.podSecurityContext) .Values.securityContext }}
        - {{ required "persistence.hostPath.prepare: needs podSecurityContext.runAsUser" $runs.runAsUser | quote }}
        - {{ required "persistence.hostPath.prepare: needs podSecurityContext.runAsGroup" $runs.runAsGroup | quote }}
      securityContext:
        runAsUser: 0
        runAsNonRoot: false
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
          add: [CHOWN, FOWNER]
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - name: state
          mountPath: /state
  {{- end }}
  containers:
    - name: inotify-bridge
      image: {{ include "inotify-bridge.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        - run
        {{- if eq .Values.onConfigChange "reload" }}
        - --reload-on-change
        {{- end }}
      env:
        - name: INOTIFY_BRIDGE_CONFIG
          value: /etc/inotify-bridge/config.yaml
        - name: NODE_NAME
          valueFrom:
            fieldRef:
              fieldPath: spec.nodeName
        - name: POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - name: http
          containerPort: {{ .Values.port }}
          protocol: TCP
      startupProbe:
        httpGet:
          path: /startupz
          port: http
        {{- toYaml .Values.startupProbe | nindent 8 }}
      livenessProbe:
        httpGet:
          path: /livez
          port: http
        {{- toYaml .Values.livenessProbe | nindent 8 }}
      readinessProbe:
        httpGet:
          path: /readyz
          port: http
        {{- toYaml .Values.readinessProbe | nindent 8 }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      volumeMounts:
        - name: config
          mountPath: /etc/inotify-bridge
          readOnly: true
        - name: runtime
          mountPath: /run/inotify-bridge
          subPath: run
        - name: runtime
          mountPath: /tmp
          subPath: tmp
        {{- if ne .Values.persistence.type "none" }}
        - name: state
          mountPath: /var/lib/inotify-bridge
        {{- end }}
        {{- range .Values.watch }}
        - name: watch-{{ .name }}
          mountPath: /watch/{{ .name }}
          {{- with .subPath }}
          subPath: {{ . | quote }}
          {{- end }}
          readOnly: true
          {{- if .hostPath }}
          # What the node mounts below it later is seen here, too.
          mountPropagation: HostToContainer
          {{- end }}
        {{- end }}
        {{- if .Values.adminToken.existingSecret }}
        - name: admin-token
          mountPath: /run/secrets/admin-token
          readOnly: true
        {{- end }}
        {{- range .Values.secrets }}
        - name: secret-{{ .name }}
          mountPath: /run/secrets/{{ .name }}
          readOnly: true
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "inotify-bridge.fullname" . }}
    - name: runtime
      emptyDir:
        {{- /* Without a state directory the journal is in /tmp. */}}
        sizeLimit: {{ eq .Values.persistence.type "none" | ternary .Values.persistence.emptyDir.sizeLimit "64Mi" }}
    {{- if eq .Values.persistence.type "emptyDir" }}
    - name: state
      emptyDir:
        sizeLimit: {{ .Values.persistence.emptyDir.sizeLimit }}
    {{- else if eq .Values.persistence.type "claim" }}
    - name: state
      persistentVolumeClaim:
        claimName: {{ include "inotify-bridge.claimName" . }}
    {{- else if eq .Values.persistence.type "hostPath" }}
    - name: state
      hostPath:
        path: {{ .Values.persistence.hostPath.path | quote }}
        type: DirectoryOrCreate
    {{- end }}
    {{- range .Values.watch }}
    - name: watch-{{ .name }}
      {{- if .hostPath }}
      hostPath:
        path: {{ .hostPath | quote }}
        type: {{ .hostPathType | default "Directory" }}
      {{- else }}
      persistentVolumeClaim:
        claimName: {{ .existingClaim }}
        # Read-only as a whole volume: else the kubelet would give its files to fsGroup.
        readOnly: true
      {{- end }}
    {{- end }}
    {{- if .Values.adminToken.existingSecret }}
    - name: admin-token
      secret:
        secretName: {{ .Values.adminToken.existingSecret }}
        defaultMode: 0440
    {{- end }}
    {{- range .Values.secrets }}
    - name: secret-{{ .name }}
      secret:
        secretName: {{ .secretName }}
        defaultMode: 0440
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
