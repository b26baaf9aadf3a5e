using System.Collections.Generic;
using System.Text.Json.Serialization;

namespace Millrace.Cli.Diagnostics;

/// <summary>What <c>millrace ss</c>, <c>millrace sysctl</c> and <c>millrace tcp_metrics</c> ask a running command; nothing: which sockets there are.</summary>
/// <param name="Sysctls">Settings to read and write, in order; none: all are read.</param>
internal sealed record ControlRequest(IReadOnlyList<SysctlWord>? Sysctls = null, MetricsQuery? Metrics = null);

[JsonSourceGenerationOptions(IncludeFields = true, UseStringEnumConverter = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(ControlRequest))]
[JsonSerializable(typeof(SocketReport))]
[JsonSerializable(typeof(SysctlReport))]
[JsonSerializable(typeof(MetricsReport))]
internal sealed partial class ControlJson : JsonSerializerContext;
