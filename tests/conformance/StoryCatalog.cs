using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Runtime.ExceptionServices;

namespace Millrace.Conformance;

/// <summary>All stories of this project: the facts of the classes whose names end in <c>Stories</c>.</summary>
internal static class StoryCatalog
{
    public static IReadOnlyList<(string Name, MethodInfo Method)> All { get; } =
    [
        .. from type in typeof(StoryCatalog).Assembly.GetTypes()
           where type.Name.EndsWith("Stories", StringComparison.Ordinal)
           from method in type.GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.DeclaredOnly)
           where method.GetCustomAttribute<FactAttribute>() is not null && method.GetParameters().Length == 0
           orderby type.Name, method.Name
           select ($"{type.Name}.{method.Name}", method),
    ];

    public static void Run(MethodInfo story)
    {
        try
        {
            story.Invoke(Activator.CreateInstance(story.DeclaringType!), null);
        }
        catch (TargetInvocationException e)
        {
            ExceptionDispatchInfo.Throw(e.InnerException!);
        }
    }

    /// <summary>A checked-in list: a story's name, a tab, the reason.</summary>
    public static IReadOnlyDictionary<string, string> ReadList(string file) =>
        File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, file))
            .Where(static l => l.Length > 0 && l[0] != '#')
            .Select(static l => l.Split('\t'))
            .ToDictionary(static l => l[0], static l => l[1]);
}
