using Millrace.Sched;

namespace Millrace.Tests.Sched;

public sealed class SleepQueueTests
{
    private static TaskStruct Sleeping(string name) => new(1, name) { Blocked = true };

    // What the world does when a task runs again.
    private static void Wake(TaskStruct task)
    {
        task.SleepCount++;
        task.Blocked = false;
    }

    [Fact]
    public void The_earliest_is_woken_first_and_of_one_time_the_first_that_went_to_sleep()
    {
        var queue = new SleepQueue();
        TaskStruct a = Sleeping("a"), b = Sleeping("b"), c = Sleeping("c");
        queue.Add(a, new Micros(20), tasks: 3);
        queue.Add(b, new Micros(10), tasks: 3);
        queue.Add(c, new Micros(20), tasks: 3);
        Assert.Equal(new Micros(10), queue.Next);
        Assert.Null(queue.TakeDue(new Micros(9)));
        Assert.Same(b, queue.TakeDue(new Micros(20)));
        Assert.Same(a, queue.TakeDue(new Micros(20)));
        Assert.Same(c, queue.TakeDue(new Micros(20)));
        Assert.Equal(Micros.Never, queue.Next);
    }

    [Fact]
    public void A_sleep_that_ended_early_is_passed_over_and_not_taken_for_the_next_one()
    {
        var queue = new SleepQueue();
        TaskStruct a = Sleeping("a");
        queue.Add(a, new Micros(10), tasks: 1);
        Wake(a);
        Assert.Equal(Micros.Never, queue.Next);
        queue.Add(a, new Micros(10), tasks: 1);
        Wake(a);
        queue.Add(a, new Micros(30), tasks: 1);
        a.Blocked = true;
        Assert.Equal(new Micros(30), queue.Next);
        Assert.Null(queue.TakeDue(new Micros(20)));
    }

    [Fact]
    public void What_is_left_behind_does_not_pile_up()
    {
        var queue = new SleepQueue();
        TaskStruct a = Sleeping("a"), long1 = Sleeping("long");
        queue.Add(long1, new Micros(1_000_000), tasks: 2);
        for (int i = 0; i < 1000; i++)
        {
            a.Blocked = true;
            queue.Add(a, new Micros(2_000_000), tasks: 2);
            Wake(a);
        }
        Assert.InRange(queue.Count, 1, 100);
        Assert.Equal(new Micros(1_000_000), queue.Next);
    }
}
