namespace Millrace.Tracing;

#pragma warning disable IDE1006 // the members are the names of /proc/net/snmp and /proc/net/netstat

/// <summary>
/// Every counter of the stack, named as nstat prints it. Those named Millrace* count what Linux has no counter for.
/// </summary>
/// <remarks>Linux: IPSTATS_MIB_*, ICMP_MIB_*, TCP_MIB_*, UDP_MIB_*, LINUX_MIB_*. RFC 4293, RFC 4022, RFC 4113.</remarks>
internal enum Mib
{
    IpInReceives, IpInHdrErrors, IpInAddrErrors, IpInUnknownProtos, IpInDiscards, IpInDelivers, IpOutRequests, IpOutDiscards,
    IpOutNoRoutes, IpReasmTimeout, IpReasmReqds, IpReasmOKs, IpReasmFails, IpFragOKs, IpFragFails, IpFragCreates,
    IpExtInNoRoutes, IpExtInTruncatedPkts, IpExtInMcastPkts, IpExtInBcastPkts, IpExtInOctets, IpExtOutOctets, IpExtInCsumErrors,
    IpExtInNoECTPkts, IpExtInECT1Pkts, IpExtInECT0Pkts, IpExtInCEPkts,

    Ip6InReceives, Ip6InHdrErrors, Ip6InTooBigErrors, Ip6InAddrErrors, Ip6InUnknownProtos, Ip6InTruncatedPkts, Ip6InDiscards,
    Ip6InDelivers, Ip6OutRequests, Ip6OutDiscards, Ip6OutNoRoutes, Ip6InMcastPkts, Ip6InOctets, Ip6OutOctets,

    IcmpInMsgs, IcmpInErrors, IcmpInCsumErrors, IcmpInDestUnreachs, IcmpInTimeExcds, IcmpInParmProbs, IcmpInSrcQuenchs,
    IcmpInRedirects, IcmpInEchos, IcmpInEchoReps, IcmpOutMsgs, IcmpOutErrors, IcmpOutDestUnreachs, IcmpOutTimeExcds, IcmpOutEchoReps,
    IcmpOutRateLimitHost,
    Icmp6InMsgs, Icmp6InErrors, Icmp6InCsumErrors, Icmp6InDestUnreachs, Icmp6InPktTooBigs, Icmp6InTimeExcds, Icmp6InParmProblems,
    Icmp6InEchos, Icmp6InEchoReplies, Icmp6InNeighborSolicits, Icmp6InNeighborAdvertisements, Icmp6OutMsgs, Icmp6OutDestUnreachs, Icmp6OutEchoReplies,
    Icmp6OutNeighborSolicits, Icmp6OutNeighborAdvertisements,

    TcpActiveOpens, TcpPassiveOpens, TcpAttemptFails, TcpEstabResets, TcpCurrEstab, TcpInSegs, TcpOutSegs, TcpRetransSegs, TcpInErrs,
    TcpOutRsts, TcpInCsumErrors,

    UdpInDatagrams, UdpNoPorts, UdpInErrors, UdpOutDatagrams, UdpRcvbufErrors, UdpSndbufErrors, UdpInCsumErrors,

    TcpExtSyncookiesSent, TcpExtSyncookiesRecv, TcpExtSyncookiesFailed, TcpExtEmbryonicRsts, TcpExtPruneCalled, TcpExtRcvPruned,
    TcpExtOfoPruned, TcpExtOutOfWindowIcmps, TcpExtLockDroppedIcmps, TcpExtTW, TcpExtTWRecycled, TcpExtTWKilled, TcpExtPAWSActive,
    TcpExtPAWSEstab, TcpExtPAWSOldAck, TcpExtBeyondWindow, TcpExtTSEcrRejected, TcpExtPAWSTimewait, TcpExtDelayedACKs,
    TcpExtDelayedACKLocked, TcpExtDelayedACKLost, TcpExtListenOverflows, TcpExtListenDrops, TcpExtTCPHPHits, TcpExtTCPPureAcks,
    TcpExtTCPHPAcks, TcpExtTCPRenoRecovery, TcpExtTCPSackRecovery, TcpExtTCPSACKReneging, TcpExtTCPSACKReorder,
    TcpExtTCPRenoReorder, TcpExtTCPTSReorder, TcpExtTCPFullUndo, TcpExtTCPPartialUndo, TcpExtTCPDSACKUndo, TcpExtTCPLossUndo,
    TcpExtTCPLostRetransmit, TcpExtTCPRenoFailures, TcpExtTCPSackFailures, TcpExtTCPLossFailures, TcpExtTCPFastRetrans,
    TcpExtTCPSlowStartRetrans, TcpExtTCPTimeouts, TcpExtTCPLossProbes, TcpExtTCPLossProbeRecovery, TcpExtTCPRenoRecoveryFail,
    TcpExtTCPSackRecoveryFail, TcpExtTCPRcvCollapsed, TcpExtTCPBacklogCoalesce, TcpExtTCPDSACKOldSent, TcpExtTCPDSACKOfoSent,
    TcpExtTCPDSACKRecv, TcpExtTCPDSACKOfoRecv, TcpExtTCPAbortOnData, TcpExtTCPAbortOnClose, TcpExtTCPAbortOnMemory,
    TcpExtTCPAbortOnTimeout, TcpExtTCPAbortOnLinger, TcpExtTCPAbortFailed, TcpExtTCPMemoryPressures, TcpExtTCPMemoryPressuresChrono,
    TcpExtTCPSACKDiscard, TcpExtTCPDSACKIgnoredOld, TcpExtTCPDSACKIgnoredNoUndo, TcpExtTCPSpuriousRTOs, TcpExtTCPMD5NotFound,
    TcpExtTCPMD5Unexpected, TcpExtTCPMD5Failure, TcpExtTCPSackShifted, TcpExtTCPSackMerged, TcpExtTCPSackShiftFallback,
    TcpExtTCPBacklogDrop, TcpExtPFMemallocDrop, TcpExtTCPMinTTLDrop, TcpExtTCPDeferAcceptDrop, TcpExtIPReversePathFilter,
    TcpExtTCPTimeWaitOverflow, TcpExtTCPReqQFullDoCookies, TcpExtTCPReqQFullDrop, TcpExtTCPRetransFail, TcpExtTCPRcvCoalesce,
    TcpExtTCPOFOQueue, TcpExtTCPOFODrop, TcpExtTCPOFOMerge, TcpExtTCPChallengeACK, TcpExtTCPSYNChallenge, TcpExtTCPFastOpenActive,
    TcpExtTCPFastOpenActiveFail, TcpExtTCPFastOpenPassive, TcpExtTCPFastOpenPassiveFail, TcpExtTCPFastOpenListenOverflow,
    TcpExtTCPFastOpenCookieReqd, TcpExtTCPFastOpenBlackhole, TcpExtTCPSpuriousRtxHostQueues, TcpExtTCPAutoCorking,
    TcpExtTCPFromZeroWindowAdv, TcpExtTCPToZeroWindowAdv, TcpExtTCPWantZeroWindowAdv, TcpExtTCPSynRetrans, TcpExtTCPOrigDataSent,
    TcpExtTCPHystartTrainDetect, TcpExtTCPHystartTrainCwnd, TcpExtTCPHystartDelayDetect, TcpExtTCPHystartDelayCwnd,
    TcpExtTCPACKSkippedSynRecv, TcpExtTCPACKSkippedPAWS, TcpExtTCPACKSkippedSeq, TcpExtTCPACKSkippedFinWait2,
    TcpExtTCPACKSkippedTimeWait, TcpExtTCPACKSkippedChallenge, TcpExtTCPWinProbe, TcpExtTCPKeepAlive, TcpExtTCPMTUPFail,
    TcpExtTCPMTUPSuccess, TcpExtTCPDelivered, TcpExtTCPDeliveredCE, TcpExtTCPAckCompressed, TcpExtTCPZeroWindowDrop,
    TcpExtTCPRcvQDrop, TcpExtTCPWqueueTooBig, TcpExtTCPFastOpenPassiveAltKey, TcpExtTcpTimeoutRehash, TcpExtTcpDuplicateDataRehash,
    TcpExtTCPDSACKRecvSegs, TcpExtTCPDSACKIgnoredDubious, TcpExtTCPMigrateReqSuccess, TcpExtTCPMigrateReqFailure,
    TcpExtTCPPLBRehash,

    // What Linux does not count: the cost of the path.
    MillraceCopiedInBytes, MillraceCopiedOutBytes, MillraceWireBytes, MillraceWakeups, MillraceLockWakeups, MillraceParks, MillraceSpinHits,
    MillraceHandovers, MillraceAsyncWakeups, MillraceDeviceReads, MillraceDeviceWrites, MillraceSoftirqs, MillraceSoftirqdRuns, MillraceNapiPolls,
    MillraceTimersFired, MillraceDeviceDrops, MillraceDeviceErrors, MillraceGroMerged, MillraceGsoSegments, MillraceBadOffload,
    MillracePortProbes, MillraceKicks, MillraceDeviceWaits,
}
