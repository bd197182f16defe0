# shellcheck shell=bash disable=SC2154
# What launchers/slurm-local writes for the daemons; it sets dir, run, log, port and the numbers of
# a node, and sources this file.

slurm_conf() {
    local host name number=0 list="n[1-$nodes]"
    host=$(hostname -s)
    cat <<CONF
ClusterName=local
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job waits for cred_expire (120 s unless set) before it starts again.
AuthInfo=socket=$run/munge.socket,cred_expire=5
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
SlurmctldPidFile=$run/slurmctld.pid
SlurmdPidFile=$run/%n.pid
SlurmctldLogFile=$log/slurmctld.log
SlurmdLogFile=$log/%n.log
# No control groups: they need systemd or rights that containers lack.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=5
MpiDefault=none
MailProg=$(command -v true)
# Believe the numbers below, not the machine's.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=256
GresTypes=gpu
MaxArraySize=10001
# Look at the queue often. Jobs that wait for a time (requeued ones) are only looked at by the
# periodic pass, every 60 s unless set.
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=200000
# Patient with processes that start slowly on a busy machine, quick with those that must end.
MessageTimeout=30
BatchStartTimeout=120
KillWait=5
ReturnToService=2
# squeue and scontrol show a finished job for so long.
MinJobAge=600
JobRequeue=1
# Preemption: at once the signal that the job asked for (--signal), after GraceTime the kill.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
PartitionName=gpu Nodes=$list Default=YES State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=$grace
PartitionName=urgent Nodes=$list State=UP PriorityTier=10 PreemptMode=OFF
CONF
    for name in $(node_names); do
        number=$((number + 1))
        echo "NodeName=$name NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 10 + number))" \
            "CPUs=$cpus RealMemory=$memory Gres=gpu:$gpus State=UNKNOWN"
    done
    if [[ $accounting == yes ]]; then
        # AccountingStoragePass is where slurmdbd's clients find munge; no password.
        cat <<CONF
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((port + 1))
AccountingStoragePass=$run/munge.socket
AccountingStorageTRES=gres/gpu
CONF
    fi
}

gres_conf() {
    echo AutoDetect=off
    ((gpus == 0)) || echo "NodeName=n[1-$nodes] Name=gpu File=$dir/dev/gpu[0-$((gpus - 1))]"
}

# MariaDB lets root in by who it is at the socket, so there is no password.
slurmdbd_conf() {
    cat <<CONF
DbdHost=$(hostname -s)
DbdAddr=127.0.0.1
DbdPort=$((port + 1))
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$run/munge.socket
PidFile=$run/slurmdbd.pid
LogFile=$log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
CONF
}

wanted() { slurm_conf; gres_conf; slurmdbd_conf; }
