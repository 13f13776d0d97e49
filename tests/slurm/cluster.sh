#!/usr/bin/env bash
# A Slurm cluster of two nodes on this machine, for the tests beside this file:
#
#   tests/slurm/cluster.sh start FOLDER    munge, slurmctld and two slurmd, all of whose files lie in FOLDER
#   tests/slurm/cluster.sh node FOLDER 2   the daemon of one node again, after it was killed
#   tests/slurm/cluster.sh stop FOLDER     ends what start began, and only that
#
# It installs nothing, and changes nothing outside FOLDER: the commands in FOLDER/bin are Slurm's own, which know this cluster (a variable
# SLURM_CONF would not reach a job: Snakemake takes what begins with SLURM_ out of its environment). No accounting, no cgroups: those need
# a machine of their own, and what is tested here (jobs, limits, nodes that die) does not.
set -euo pipefail

DO=${1:-} FOLDER=${2:-}
[ -n "$DO" ] && [ -n "$FOLDER" ] || { echo "usage: $0 start|node|stop FOLDER [NODE]" >&2; exit 2; }
PATH=$PATH:/usr/sbin:/sbin
missing=
for program in munged slurmctld slurmd sbatch squeue; do command -v $program > /dev/null || missing="$missing $program"; done
if [ -n "$missing" ]; then
    echo "not here:$missing; on Debian: apt-get install slurmctld slurmd slurm-client munge" >&2
    exit 77
fi
if [ "$(id -u)" != 0 ]; then
    echo "the daemons of Slurm start jobs of any user, so they need root" >&2
    exit 77
fi
mkdir -p "$FOLDER"
FOLDER=$(cd "$FOLDER" && pwd)
HOST=$(hostname -s)
export SLURM_CONF=$FOLDER/slurm.conf

start_node() {
    # A session of its own, so that a test can kill a node with all that runs on it.
    setsid slurmd -D -N "node$1" > "$FOLDER/node$1.out" 2>&1 < /dev/null &
    echo $! > "$FOLDER/node$1.started"
}

wait_for() { # WHAT COMMAND…: at most half a minute
    local what=$1; shift
    for _ in $(seq 150); do "$@" > /dev/null 2>&1 && return; sleep 0.2; done
    echo "error: $what did not start within 30 s; its log is in $FOLDER" >&2
    exit 1
}

both_idle() { [ "$(sinfo --noheader --format=%T --Node | sort -u)" = idle ]; }

case $DO in
start)
    mkdir -p "$FOLDER/state"
    chmod 755 "$FOLDER"
    head -c 1024 /dev/urandom > "$FOLDER/munge.key"
    chmod 400 "$FOLDER/munge.key"
    # Free ports, so that a cluster of this machine's own, or a second test, is in nobody's way.
    read -r CTL N1 N2 < <(python3 -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*[each.getsockname()[1] for each in held])')
    cat > "$SLURM_CONF" <<CONF
ClusterName=l2mtest
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$CTL
AuthType=auth/munge
AuthInfo=socket=$FOLDER/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmctldPidFile=$FOLDER/slurmctld.pid
SlurmctldLogFile=$FOLDER/slurmctld.log
SlurmdPidFile=$FOLDER/%n.pid
SlurmdLogFile=$FOLDER/%n.log
SlurmdSpoolDir=$FOLDER/spool.%n
StateSaveLocation=$FOLDER/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,sched_min_interval=100000,batch_sched_delay=0
ReturnToService=2
SlurmdTimeout=10
SlurmctldTimeout=30
OverTimeLimit=0
JobRequeue=0
MinJobAge=${L2M_SLURM_AGE:-600}
MaxJobCount=${L2M_SLURM_QUEUE:-1000}
NodeName=node1 NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$N1 CPUs=1 RealMemory=8000
NodeName=node2 NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$N2 CPUs=1 RealMemory=8000
PartitionName=all Nodes=node1,node2 Default=YES MaxTime=60 DefaultTime=10 State=UP
CONF
    mkdir -p "$FOLDER/bin"
    for program in sbatch srun squeue sinfo scancel scontrol; do
        printf '#!/bin/sh\nSLURM_CONF=%s exec %s "$@"\n' "$SLURM_CONF" "$(command -v $program)" > "$FOLDER/bin/$program"
        chmod +x "$FOLDER/bin/$program"
    done
    munged --force --key-file="$FOLDER/munge.key" --socket="$FOLDER/munge.socket" --pid-file="$FOLDER/munged.pid" \
        --log-file="$FOLDER/munged.log" --seed-file="$FOLDER/munge.seed"
    setsid slurmctld -D > "$FOLDER/slurmctld.out" 2>&1 < /dev/null &
    echo $! > "$FOLDER/slurmctld.started"
    wait_for slurmctld scontrol ping
    start_node 1
    start_node 2
    wait_for "a node" both_idle
    ;;
node)
    start_node "$3"
    ;;
stop)
    for name in node1 node2 slurmctld; do
        [ -s "$FOLDER/$name.started" ] && kill -- "-$(cat "$FOLDER/$name.started")" 2> /dev/null || true
    done
    [ -s "$FOLDER/munged.pid" ] && kill "$(cat "$FOLDER/munged.pid")" 2> /dev/null || true
    ;;
*)
    echo "usage: $0 start|node|stop FOLDER [NODE]" >&2
    exit 2
    ;;
esac
