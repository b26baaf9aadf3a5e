using System.Collections.Generic;
using System.Linq;
using CsCheck;
using Millrace.Buffers;
using Millrace.Wire;

namespace Millrace.Tests.Buffers;

public sealed class SeqTreeTests
{
    /// <summary>Held against a sorted list, over any inserts, removals and look-ups, in a space that wraps.</summary>
    [Fact]
    public void It_behaves_as_a_sorted_list() =>
        Gen.Select(Gen.UInt, Gen.Select(Gen.Int[0, 3], Gen.UInt[0, 60]).Array[1, 120]).Sample((origin, steps) =>
        {
            using var test = new TestCpu();
            var tree = new SeqTree();
            var model = new SortedDictionary<uint, SkBuff>();
            foreach ((int what, uint slot) in steps)
            {
                SeqNumber at = new SeqNumber(origin) + (10 * slot);
                if (what == 0 && model.Remove(slot, out SkBuff? gone))
                {
                    tree.Remove(gone);
                    test.Cpu.FreeSkb(gone);
                }
                else if (what > 0 && !model.ContainsKey(slot))
                {
                    SkBuff skb = test.Cpu.AllocSkb();
                    skb.Tcp.Seq = at;
                    skb.Tcp.EndSeq = at + 10;
                    tree.InsertAfter(skb, tree.LastStartingAtOrBefore(at));
                    model[slot] = skb;
                }
                if (!Agrees(tree, model, origin, slot))
                    return false;
            }
            return true;
        }, iter: 300);

    private static bool Agrees(SeqTree tree, SortedDictionary<uint, SkBuff> model, uint origin, uint slot)
    {
        var walked = new List<SkBuff>();
        for (SkBuff? s = tree.First; s is not null; s = SeqTree.After(s))
            walked.Add(s);
        SeqNumber inside = new SeqNumber(origin) + ((10 * slot) + 5);
        SkBuff? ending = model.Where(p => p.Key >= slot).Select(p => p.Value).FirstOrDefault();
        SkBuff? starting = model.Where(p => p.Key <= slot).Select(p => p.Value).LastOrDefault();
        return walked.SequenceEqual(model.Values) && tree.Count == model.Count && tree.IsEmpty == (model.Count == 0)
            && tree.Last == model.Values.LastOrDefault() && tree.FirstEndingAfter(inside) == ending
            && tree.LastStartingAtOrBefore(inside) == starting;
    }

    /// <summary>A peer who sends in the worst order makes no long paths: priorities are random and not his.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(-1)]
    public void Its_depth_is_logarithmic_in_any_order(int direction)
    {
        using var test = new TestCpu();
        var tree = new SeqTree();
        const int count = 4000;
        SkBuff? any = null;
        for (int i = 0; i < count; i++)
        {
            SkBuff skb = any = test.Cpu.AllocSkb();
            skb.Tcp.Seq = new SeqNumber(0) + (direction * 10 * i);
            skb.Tcp.EndSeq = skb.Tcp.Seq + 10;
            tree.InsertAfter(skb, tree.LastStartingAtOrBefore(skb.Tcp.Seq));
        }
        int deepest = 0;
        for (SkBuff? s = tree.First; s is not null; s = SeqTree.After(s))
        {
            int depth = 0;
            for (SkBuff? up = s; up is not null; up = up.Parent)
                depth++;
            deepest = System.Math.Max(deepest, depth);
        }
        Assert.NotNull(any);
        Assert.InRange(deepest, 12, 60);
    }
}
