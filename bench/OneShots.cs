using System.Globalization;
using System.IO;
using System.Threading.Tasks;

namespace Millrace.Bench;

/// <summary>Figures that a process of its own finds out, and ends.</summary>
internal static class OneShots
{
    public static async Task<IdleFigures> IdleAsync(int connections)
    {
        await using var child = Child.StartSelf(Server.StackCpu, "idle", connections.ToString(CultureInfo.InvariantCulture));
        string line = await child.ReadLineAsync();
        return new IdleFigures(Sample.Word(line, "bytes/end"), Sample.Word(line, "setup"), Sample.Word(line, "pause"), Sample.Word(line, "cost"));
    }

    public static async Task<double> LookUpAsync(int size, double seconds)
    {
        await using var child = Child.StartSelf(Server.StackCpu, "look-up", size.ToString(CultureInfo.InvariantCulture), seconds.ToString(CultureInfo.InvariantCulture));
        return Sample.Word(await child.ReadLineAsync(), "ns");
    }

    /// <summary>What another stack says that one end of an idle connection costs, in bytes.</summary>
    public static async Task<double> ProgramIdleAsync(string[] command)
    {
        await using var child = Child.Start(command);
        return Sample.Word(await child.ReadLineAsync(), "bytes/end");
    }

    /// <summary>What one end costs the kernel in slabs, in bytes: it keeps sockets nowhere else.</summary>
    public static async Task<double> KernelIdleAsync(RunOptions options, int connections)
    {
        await using Server server = await Server.LoopbackAsync(options);
        double before = SlabBytes();
        await using var holder = Child.Start([.. server.Space.Inside(options.Programs["kload"], "hold", "-n", connections.ToString(CultureInfo.InvariantCulture)), .. server.Target]);
        _ = await holder.ReadLineAsync();
        return (SlabBytes() - before) / 2 / connections;
    }

    private static double SlabBytes() => ProcFiles.Field(File.ReadAllText("/proc/meminfo"), "Slab") * 1024;
}
