"""Which keyword of Slurm's files exists in which release, as plain data.

Source: the tables by which Slurm itself reads its files (`s_p_options_t` in read_config.c, gres.c,
cgroup.c and the topology plugins), at the tags 22-05-8 and 24-11-5 and the ends of the branches
23.02, 23.11, 24.05, 25.05, 25.11 and 26.05. Measured besides, by letting Slurm's own programs read
every keyword of slurm.conf: 22.05.8, 24.11.5 and 26.05.5.
"""

#: By file, or by the keyword that begins a line of slurm.conf: what all releases know.
ALWAYS: dict[str, str] = {
    "slurm.conf": """
        AccountingStorageBackupHost AccountingStorageEnforce AccountingStorageExternalHost
        AccountingStorageHost AccountingStorageParameters AccountingStoragePass
        AccountingStoragePort AccountingStorageTRES AccountingStorageType AccountingStoreFlags
        AccountingStoreJobComment AcctGatherEnergyType AcctGatherFilesystemType
        AcctGatherInfinibandType AcctGatherInterconnectType AcctGatherNodeFreq
        AcctGatherProfileType AllowSpecResourcesUsage AuthAltParameters AuthAltTypes AuthInfo
        AuthType BackupAddr BackupController BatchStartTimeout BcastExclude BcastParameters
        BurstBufferParameters BurstBufferType CliFilterPlugins ClusterName
        CommunicationParameters CompleteWait ControlAddr ControlMachine CpuFreqDef
        CpuFreqGovernors CredType CryptoType DebugFlags DefCPUPerGPU DefMemPerCPU DefMemPerGPU
        DefMemPerNode DependencyParameters DisableRootJobs DownNodes EioTimeout
        EnforcePartLimits Epilog EpilogMsgTime EpilogSlurmctld FairShareDampeningFactor
        FastSchedule FederationParameters FirstJobId GpuFreqDef GresTypes GroupUpdateForce
        GroupUpdateTime HealthCheckInterval HealthCheckNodeState HealthCheckProgram
        InactiveLimit InteractiveStepOptions JobAcctGatherFrequency JobAcctGatherParams
        JobAcctGatherType JobCompHost JobCompLoc JobCompParams JobCompPass JobCompPort
        JobCompType JobCompUser JobContainerType JobFileAppend JobRequeue JobSubmitPlugins
        KeepAliveTime KillOnBadExit KillWait LaunchParameters LaunchType Licenses LogTimeFormat
        MCSParameters MCSPlugin MailDomain MailProg MaxArraySize MaxDBDMsgs MaxJobCount MaxJobId
        MaxMemPerCPU MaxMemPerNode MaxNodeCount MaxStepCount MaxTasksPerNode MessageTimeout
        MinJobAge MpiDefault MpiParams NodeFeaturesPlugins NodeName NodeSet OverTimeLimit
        PartitionName PlugStackConfig PluginDir PrEpParameters PrEpPlugins PreemptExemptTime
        PreemptMode PreemptType PriorityCalcPeriod PriorityDecayHalfLife PriorityFavorSmall
        PriorityFlags PriorityMaxAge PriorityParameters PrioritySiteFactorParameters
        PrioritySiteFactorPlugin PriorityType PriorityUsageResetPeriod PriorityWeightAge
        PriorityWeightAssoc PriorityWeightFairshare PriorityWeightJobSize
        PriorityWeightPartition PriorityWeightQOS PriorityWeightTRES PrivateData ProctrackType
        Prolog PrologEpilogTimeout PrologFlags PrologSlurmctld PropagatePrioProcess
        PropagateResourceLimits PropagateResourceLimitsExcept RebootProgram ReconfigFlags
        RequeueExit RequeueExitHold ResumeFailProgram ResumeProgram ResumeRate ResumeTimeout
        ResvEpilog ResvOverRun ResvProlog ReturnToService RoutePlugin SallocDefaultCommand
        SbcastParameters SchedulerParameters SchedulerTimeSlice SchedulerType ScronParameters
        SelectType SelectTypeParameters SlurmSchedLogFile SlurmSchedLogLevel SlurmUser
        SlurmctldAddr SlurmctldDebug SlurmctldHost SlurmctldLogFile SlurmctldParameters
        SlurmctldPidFile SlurmctldPort SlurmctldPrimaryOffProg SlurmctldPrimaryOnProg
        SlurmctldSyslogDebug SlurmctldTimeout SlurmdDebug SlurmdLogFile SlurmdParameters
        SlurmdPidFile SlurmdPort SlurmdSpoolDir SlurmdSyslogDebug SlurmdTimeout SlurmdUser
        SrunEpilog SrunPortRange SrunProlog StateSaveLocation SuspendExcNodes SuspendExcParts
        SuspendProgram SuspendRate SuspendTime SuspendTimeout SwitchParameters SwitchType
        TCPTimeout TaskEpilog TaskPlugin TaskPluginParam TaskProlog TmpFS TopologyParam
        TopologyPlugin TrackWCKey TreeWidth UnkillableStepProgram UnkillableStepTimeout UsePAM
        VSizeFactor WaitTime X11Parameters
    """,
    "NodeName": """
        BcastAddr Boards CPUSpecList CPUs CoreSpecCount CoresPerSocket CpuBind Feature Features
        Gres MemSpecLimit NodeAddr NodeHostname Port Procs RealMemory Reason Sockets
        SocketsPerBoard State TRESWeights ThreadsPerCore TmpDisk Weight
    """,
    "PartitionName": """
        AllocNodes AllowAccounts AllowGroups AllowQos Alternate CpuBind DefCPUPerGPU
        DefMemPerCPU DefMemPerGPU DefMemPerNode Default DefaultTime DenyAccounts DenyQos
        DisableRootJobs ExclusiveUser GraceTime Hidden LLN MaxCPUsPerNode MaxMemPerCPU
        MaxMemPerNode MaxNodes MaxTime MinNodes Nodes OverSubscribe OverTimeLimit PreemptMode
        Priority PriorityJobFactor PriorityTier QOS ReqResv ResumeTimeout RootOnly
        SelectTypeParameters Shared State SuspendTime SuspendTimeout TRESBillingWeights
    """,
    "DownNodes": """
        Reason State
    """,
    "NodeSet": """
        Feature Nodes
    """,
    "gres.conf": """
        AutoDetect CPUs Cores Count File Files Flags Link Links MultipleFiles Name NodeName Type
    """,
    "cgroup.conf": """
        AllowedDevicesFile AllowedRAMSpace AllowedSwapSpace CgroupMountpoint CgroupPlugin
        ConstrainCores ConstrainDevices ConstrainRAMSpace ConstrainSwapSpace IgnoreSystemd
        IgnoreSystemdOnFailure MaxRAMPercent MaxSwapPercent MemoryLimitEnforcement
        MemoryLimitThreshold MemorySwappiness MinRAMSpace
    """,
    "topology.conf": """
        LinkSpeed Nodes SwitchName Switches
    """,
    "slurmdbd.conf": """
        AllowNoDefAcct ArchiveDir ArchiveEvents ArchiveJobs ArchiveResvs ArchiveScript
        ArchiveSteps ArchiveSuspend ArchiveTXN ArchiveUsage AuthAltParameters AuthAltTypes
        AuthInfo AuthType CommitDelay CommunicationParameters DbdAddr DbdBackupHost DbdHost
        DbdPort DebugFlags DebugLevel DebugLevelSyslog DefaultQOS JobPurge LogFile LogTimeFormat
        MaxQueryTimeRange MessageTimeout Parameters PidFile PluginDir PrivateData
        PurgeEventAfter PurgeEventMonths PurgeJobAfter PurgeJobMonths PurgeResvAfter
        PurgeStepAfter PurgeStepMonths PurgeSuspendAfter PurgeSuspendMonths PurgeTXNAfter
        PurgeTXNMonths PurgeUsageAfter PurgeUsageMonths SlurmUser StepPurge StorageBackupHost
        StorageHost StorageLoc StorageParameters StoragePass StoragePort StorageType StorageUser
        TCPTimeout TrackSlurmctldDown TrackWCKey
    """,
}

#: (file, keyword, first release, first that ignores it, first that refuses it); empty where it was
#: there before 22.05, and where it is still so in 26.05.
CHANGES: tuple[tuple[str, str, str, str, str], ...] = (
    ("slurm.conf", "AccountingStorageLoc", "", "", "25.11"),
    ("slurm.conf", "AccountingStorageUser", "", "25.11", ""),
    ("slurm.conf", "CertgenParameters", "25.05", "", ""),
    ("slurm.conf", "CertgenType", "25.05", "", ""),
    ("slurm.conf", "CertmgrParameters", "24.11", "", ""),
    ("slurm.conf", "CertmgrType", "24.11", "", ""),
    ("slurm.conf", "CliFilterParameters", "25.11", "", ""),
    ("slurm.conf", "CoreSpecPlugin", "", "24.05", ""),
    ("slurm.conf", "DataParserParameters", "24.11", "", ""),
    ("slurm.conf", "EpilogTimeout", "25.05", "", ""),
    ("slurm.conf", "ExtSensorsFreq", "", "23.11", ""),
    ("slurm.conf", "ExtSensorsType", "", "23.11", ""),
    ("slurm.conf", "FrontendName", "", "", "25.05"),
    ("slurm.conf", "GetEnvTimeout", "", "25.05", ""),
    ("slurm.conf", "HashPlugin", "24.05", "", ""),
    ("slurm.conf", "HealthCheckTimeout", "26.05", "", ""),
    ("slurm.conf", "HttpParserType", "25.11", "", ""),
    ("slurm.conf", "JobCompPassScript", "25.11", "", ""),
    ("slurm.conf", "JobCredentialPrivateKey", "", "23.11", ""),
    ("slurm.conf", "JobCredentialPublicCertificate", "", "23.11", ""),
    ("slurm.conf", "LicenseParameters", "26.05", "", ""),
    ("slurm.conf", "MaxBatchRequeue", "23.02", "", ""),
    ("slurm.conf", "MetricsAuthUsers", "26.05", "", ""),
    ("slurm.conf", "MetricsParameters", "26.05", "", ""),
    ("slurm.conf", "MetricsType", "25.11", "", ""),
    ("slurm.conf", "NamespaceType", "25.11", "", ""),
    ("slurm.conf", "PowerAction", "26.05", "", ""),
    ("slurm.conf", "PowerParameters", "", "24.05", ""),
    ("slurm.conf", "PowerPlugin", "", "24.05", ""),
    ("slurm.conf", "PreemptParameters", "23.02", "", ""),
    ("slurm.conf", "PrologTimeout", "25.05", "", ""),
    ("slurm.conf", "SchedulerAuth", "", "22.05", "24.05"),
    ("slurm.conf", "SlurmctldHttpAuthParameters", "26.05", "", ""),
    ("slurm.conf", "SlurmctldPlugstack", "", "", "23.02"),
    ("slurm.conf", "SlurmdHttpAuthParameters", "26.05", "", ""),
    ("slurm.conf", "SuspendExcStates", "23.02", "", ""),
    ("slurm.conf", "TLSParameters", "24.05", "", ""),
    ("slurm.conf", "TLSType", "24.05", "", ""),
    ("slurm.conf", "UrlParserType", "25.11", "", ""),
    ("NodeName", "GresConf", "25.11", "", ""),
    ("NodeName", "Parameters", "25.11", "", ""),
    ("NodeName", "RestrictedCoresPerGPU", "24.05", "", ""),
    ("NodeName", "SuspendTime", "26.05", "", ""),
    ("NodeName", "Topology", "25.05", "", ""),
    ("PartitionName", "Exclusive", "26.05", "", ""),
    ("PartitionName", "ExclusiveTopo", "24.05", "", ""),
    ("PartitionName", "MaxCPUsPerSocket", "23.02", "", ""),
    ("PartitionName", "PowerDownOnIdle", "23.02", "", ""),
    ("PartitionName", "Topology", "25.05", "", ""),
    ("cgroup.conf", "AllowedKmemSpace", "", "", "23.11"),
    ("cgroup.conf", "CgroupAutomount", "", "23.11", ""),
    ("cgroup.conf", "CgroupJobIdPaths", "26.05", "", ""),
    ("cgroup.conf", "CgroupReleaseAgentDir", "", "", "25.11"),
    ("cgroup.conf", "CgroupSlice", "25.11", "", ""),
    ("cgroup.conf", "ConstrainKmemSpace", "", "", "23.11"),
    ("cgroup.conf", "EnableControllers", "23.02", "", ""),
    ("cgroup.conf", "EnableExtraControllers", "25.05", "", ""),
    ("cgroup.conf", "MaxKmemPercent", "", "", "23.11"),
    ("cgroup.conf", "MinKmemSpace", "", "", "23.11"),
    ("cgroup.conf", "RootOwnedCgroups", "23.02", "", "23.11"),
    ("cgroup.conf", "SignalChildrenProcesses", "23.11", "", ""),
    ("cgroup.conf", "SystemdTimeout", "24.05", "", ""),
    ("topology.conf", "BlockLevels", "23.11", "", "24.05"),
    ("topology.conf", "BlockName", "23.11", "", ""),
    ("topology.conf", "BlockSizes", "24.05", "", ""),
    ("topology.conf", "RingName", "26.05", "", ""),
    ("slurmdbd.conf", "AllResourcesAbsolute", "23.02", "", ""),
    ("slurmdbd.conf", "ArchiveJobEnv", "26.05", "", ""),
    ("slurmdbd.conf", "ArchiveJobScript", "26.05", "", ""),
    ("slurmdbd.conf", "DisableArchiveCommands", "25.11", "", ""),
    ("slurmdbd.conf", "DisableCoordDBD", "24.05", "", ""),
    ("slurmdbd.conf", "DisableRollups", "26.05", "", ""),
    ("slurmdbd.conf", "HashPlugin", "24.05", "", ""),
    ("slurmdbd.conf", "MaxPurgeLimit", "25.11", "", ""),
    ("slurmdbd.conf", "PurgeJobEnvAfter", "26.05", "", ""),
    ("slurmdbd.conf", "PurgeJobScriptAfter", "26.05", "", ""),
    ("slurmdbd.conf", "StoragePassScript", "25.11", "", ""),
    ("slurmdbd.conf", "TLSParameters", "24.05", "", ""),
    ("slurmdbd.conf", "TLSType", "24.05", "", ""),
)
