#!/bin/sh
# TaskProlog of dgx-h100; made by `slurmkit site generate`. Runs as the user before every task, and
# Slurm puts what it prints as "export NAME=VALUE" into the task's environment. What a job has set stays.
# a send is retried after 4.096 µs times 2^22, 17 s, not after 4 s (20, NCCL's own since 2.23):
# with the 7 retries of NCCL_IB_RETRY_CNT, which is the most there are, a link that flaps or a
# switch that starts again ends no job
[ -n "${NCCL_IB_TIMEOUT+set}" ] || printf 'export %s=%s\n' NCCL_IB_TIMEOUT 22
# every transport but TCP: where RDMA does not work, the start fails with a message, and does not
# go on at a hundredth of the speed. What is not there, such as CUDA, is left out without a
# warning, which a list of names would give
[ -n "${UCX_TLS+set}" ] || printf 'export %s=%s\n' UCX_TLS '^tcp'
# Open MPI would fall back to TCP when UCX is missing or finds no device; named, it says so
[ -n "${OMPI_MCA_pml+set}" ] || printf 'export %s=%s\n' OMPI_MCA_pml ucx
# Open MPI 4 would open the HCAs a second time, through its old openib BTL, and warn; 5 has it no
# more
[ -n "${OMPI_MCA_btl+set}" ] || printf 'export %s=%s\n' OMPI_MCA_btl '^openib'
exit 0
