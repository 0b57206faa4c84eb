{{- /* Names of objects. A release called tidegate gives tidegate-configd, another one RELEASE-tidegate-configd. */ -}}
{{- define "tidegate.name" -}}
{{- if contains "tidegate" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-tidegate" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tidegate.configd" -}}{{ include "tidegate.name" . }}-configd{{- end -}}
{{- define "tidegate.peers" -}}{{ include "tidegate.configd" . }}-peers{{- end -}}
{{- define "tidegate.operator" -}}{{ include "tidegate.name" . }}-operator{{- end -}}
{{- define "tidegate.issuer" -}}{{ include "tidegate.name" . }}-issuer{{- end -}}
{{- define "tidegate.authoritySecret" -}}{{ include "tidegate.name" . }}-authority{{- end -}}
{{- define "tidegate.configdSecret" -}}{{ include "tidegate.configd" . }}-tls{{- end -}}
{{- define "tidegate.operatorSecret" -}}{{ include "tidegate.operator" . }}-tls{{- end -}}

{{- define "tidegate.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* What selects the pods of a part; call it with (dict "root" $ "part" "configd"). Selectors never change, so few labels. */ -}}
{{- define "tidegate.selector" -}}
app.kubernetes.io/name: tidegate
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "tidegate.labels" -}}
{{ include "tidegate.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* What every pod and every container of ours runs with. */ -}}
{{- define "tidegate.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}
{{- define "tidegate.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "tidegate.probes" -}}
startupProbe:
  httpGet: {path: /startupz, port: admin}
  periodSeconds: 2
  failureThreshold: 150
livenessProbe:
  httpGet: {path: /livez, port: admin}
  # A starved node answers late; to end processes there makes it worse.
  timeoutSeconds: 10
  periodSeconds: 10
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  timeoutSeconds: 5
  periodSeconds: 2
  failureThreshold: 3
{{- end -}}

{{- /* Where a process finds its certificate; the files are read again when they change. */ -}}
{{- define "tidegate.tlsEnvironment" -}}
- {name: TIDEGATE_TLS_CERT, value: /etc/tidegate/tls/tls.crt}
- {name: TIDEGATE_TLS_KEY, value: /etc/tidegate/tls/tls.key}
- {name: TIDEGATE_TLS_CA, value: /etc/tidegate/tls/ca.crt}
{{- end -}}

{{- /* The gRPC service of each configd, by the names that its StatefulSet gives. */ -}}
{{- define "tidegate.configdUrls" -}}
{{- $urls := list -}}
{{- range $i := until (int .Values.configd.replicas) -}}
{{- $urls = append $urls (printf "https://%s-%d.%s.%s.svc:15010" (include "tidegate.configd" $) $i (include "tidegate.peers" $) $.Release.Namespace) -}}
{{- end -}}
{{- join "," $urls -}}
{{- end -}}

{{- define "tidegate.configdPeers" -}}
{{- $peers := list -}}
{{- range $i := until (int .Values.configd.replicas) -}}
{{- $peers = append $peers (printf "%s-%d.%s.%s.svc:15011" (include "tidegate.configd" $) $i (include "tidegate.peers" $) $.Release.Namespace) -}}
{{- end -}}
{{- join "," $peers -}}
{{- end -}}
