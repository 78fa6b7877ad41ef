#!/bin/sh
# TaskProlog of hgx-b300-roce; made by `slurmkit site generate`. Runs as the user before every task, and
# Slurm puts what it prints as "export NAME=VALUE" into the task's environment. What a job has set stays.
# DSCP 26 and ECN-capable: 4 times 26, and 2, is 106. NCCL's default 0 puts RDMA into the queue of
# everything else, which PFC does not keep lossless and whose marks nobody reads
[ -n "${NCCL_IB_TC+set}" ] || printf 'export %s=%s\n' NCCL_IB_TC 106
# a leaf-spine network spreads flows by a hash of their ports; one queue pair is one flow, and two
# flows on one link halve each other. Four per connection spread better (default 1)
[ -n "${NCCL_IB_QPS_PER_CONNECTION+set}" ] || printf 'export %s=%s\n' NCCL_IB_QPS_PER_CONNECTION 4
# a send is retried after 4.096 µs times 2^22, 17 s, not after 4 s (20, NCCL's own since 2.23):
# with the 7 retries of NCCL_IB_RETRY_CNT, which is the most there are, a link that flaps or a
# switch that starts again ends no job
[ -n "${NCCL_IB_TIMEOUT+set}" ] || printf 'export %s=%s\n' NCCL_IB_TIMEOUT 22
# every transport but TCP: where RDMA does not work, the start fails with a message, and does not
# go on at a hundredth of the speed. What is not there, such as CUDA, is left out without a
# warning, which a list of names would give
[ -n "${UCX_TLS+set}" ] || printf 'export %s=%s\n' UCX_TLS '^tcp'
# the same for UCX; its own default is 106 on RoCE v2, and 0 in old releases
[ -n "${UCX_IB_TRAFFIC_CLASS+set}" ] || printf 'export %s=%s\n' UCX_IB_TRAFFIC_CLASS 106
# Open MPI would fall back to TCP when UCX is missing or finds no device; named, it says so
[ -n "${OMPI_MCA_pml+set}" ] || printf 'export %s=%s\n' OMPI_MCA_pml ucx
# Open MPI 4 would open the HCAs a second time, through its old openib BTL, and warn; 5 has it no
# more
[ -n "${OMPI_MCA_btl+set}" ] || printf 'export %s=%s\n' OMPI_MCA_btl '^openib'
# the compute NICs' network: a GID outside it is another network's
[ -n "${NCCL_IB_ADDR_RANGE+set}" ] || printf 'export %s=%s\n' NCCL_IB_ADDR_RANGE 10.224.0.0/12
exit 0
