using System.Collections.Generic;
using System.Linq;

namespace Millrace.Conformance;

/// <summary>Every story again, over IPv6. <c>ipv4-only.tsv</c> names those that speak of IPv4 alone.</summary>
public sealed class FamilyTests
{
    public static IEnumerable<TheoryDataRow<string>> Names
    {
        get
        {
            IReadOnlyDictionary<string, string> only4 = StoryCatalog.ReadList("ipv4-only.tsv");
            return StoryCatalog.All.Where(s => !only4.ContainsKey(s.Name)).Select(static s => new TheoryDataRow<string>(s.Name));
        }
    }

    [Theory]
    [MemberData(nameof(Names), DisableDiscoveryEnumeration = true)]
    public void Plays_over_IPv6(string story) =>
        Stage.Play(() => StoryCatalog.All.First(s => s.Name == story).Run(), Family.V6);
}
