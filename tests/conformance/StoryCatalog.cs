using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Runtime.ExceptionServices;

namespace Millrace.Conformance;

/// <summary>A story by its name; of a theory's rows each is one, and its arguments belong to the name.</summary>
internal sealed record StoryEntry(string Name, MethodInfo Method, object?[] Arguments)
{
    public void Run()
    {
        try
        {
            Method.Invoke(Activator.CreateInstance(Method.DeclaringType!), Arguments);
        }
        catch (TargetInvocationException e)
        {
            ExceptionDispatchInfo.Throw(e.InnerException!);
        }
    }
}

/// <summary>All stories of this project: the facts, and the rows of the theories, of the classes whose names end in <c>Stories</c>.</summary>
internal static class StoryCatalog
{
    public static IReadOnlyList<StoryEntry> All { get; } =
    [
        .. from type in typeof(StoryCatalog).Assembly.GetTypes()
           where type.Name.EndsWith("Stories", StringComparison.Ordinal)
           from method in type.GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.DeclaredOnly)
           where method.GetCustomAttribute<FactAttribute>() is not null
           orderby type.Name, method.Name
           from row in Rows(method)
           select new StoryEntry(row.Length == 0 ? $"{type.Name}.{method.Name}" : $"{type.Name}.{method.Name}({string.Join(", ", row)})", method, row),
    ];

    private static IEnumerable<object?[]> Rows(MethodInfo method) => method.GetParameters().Length == 0
        ? [[]]
        : method.GetCustomAttributes<InlineDataAttribute>().Select(static row => row.Data);

    /// <summary>A checked-in list: a story's name, a tab, the reason.</summary>
    public static IReadOnlyDictionary<string, string> ReadList(string file) =>
        File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, file))
            .Where(static l => l.Length > 0 && l[0] != '#')
            .Select(static l => l.Split('\t'))
            .ToDictionary(static l => l[0], static l => l[1]);
}
