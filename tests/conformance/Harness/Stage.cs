using System;

namespace Millrace.Conformance;

/// <summary>
/// Where stories play: on which stack, over which family. A story names neither, so that one text runs on all of them. By default
/// it is this project's stack over IPv4.
/// </summary>
internal static class Stage
{
    [ThreadStatic]
    private static Func<Family, StorySettings, Backend>? t_backend;

    [ThreadStatic]
    private static Family t_family;

    public static Family Family => t_family;

    /// <summary>The exchange of the last story that this thread has played.</summary>
    [field: ThreadStatic]
    public static Ladder? LastLadder { get; set; }

    public static Backend NewBackend(StorySettings settings) =>
        t_backend?.Invoke(t_family, settings) ?? new MillraceBackend(t_family, settings);

    /// <summary>Plays a story somewhere else. Stories run on the thread that calls.</summary>
    /// <param name="backend">Makes the stack; null: this project's.</param>
    public static void Play(Action story, Family family, Func<Family, StorySettings, Backend>? backend = null)
    {
        (t_family, t_backend) = (family, backend);
        try
        {
            story();
        }
        finally
        {
            (t_family, t_backend) = (Family.V4, null);
        }
    }
}
