using System.Collections.Generic;
using System.Text.Json.Serialization;

namespace Millrace.Cli.Diagnostics;

/// <summary>What <c>millrace ss</c> and <c>millrace sysctl</c> ask a running command.</summary>
/// <param name="Sysctls">Null: which sockets there are. Settings to read and write, in order; none: all are read.</param>
internal sealed record ControlRequest(IReadOnlyList<SysctlWord>? Sysctls);

[JsonSourceGenerationOptions(IncludeFields = true, UseStringEnumConverter = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(ControlRequest))]
[JsonSerializable(typeof(SocketReport))]
[JsonSerializable(typeof(SysctlReport))]
internal sealed partial class ControlJson : JsonSerializerContext;
