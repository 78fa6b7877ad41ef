-- Slurm's job_submit/lua: applies the policy in slurmkit_policy.lua to every job, in slurmctld.
-- It fails open: whatever goes wrong in here is logged, and the job goes through as it came.
-- Reload after an edit of any of the files: touch job_submit.lua.

local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"

-- Constants that a release may lack; widths matter, for 65534 minutes are a real time limit.
local NO_VAL, INFINITE = slurm.NO_VAL or 0xfffffffe, slurm.INFINITE or 0xffffffff
local NO_VAL16 = slurm.NO_VAL16 or 0xfffe

local function log_failure(what)
  slurm.log_error("%s", "slurmkit: " .. tostring(what) .. "; the job goes through without the policy")
end

local rules, policy

local function load_policy()
  local loaded_rules = dofile(folder .. "slurmkit_rules.lua")
  local loaded = dofile(folder .. "slurmkit_policy.lua")
  local problems = loaded_rules.problems(loaded)
  if #problems > 0 then
    error("slurmkit_policy.lua: " .. table.concat(problems, "; "), 0)
  end
  rules, policy = loaded_rules, loaded
end

local ok, failure = pcall(load_policy)
if not ok then
  slurm.log_error("%s", "slurmkit: no policy: " .. tostring(failure))
end

local function text(value)
  if value == nil or value == "" then
    return nil
  end
  return tostring(value)
end

local function number32(value)
  if value == nil or value == NO_VAL or value == INFINITE then
    return nil
  end
  return value
end

local function number16(value)
  if value == nil or value == NO_VAL16 or value == 0xffff or value == NO_VAL then
    return nil
  end
  return value
end

local function minutes(value)
  if value == INFINITE then
    return math.huge
  end
  return number32(value)
end

local function flag(value)
  if type(value) == "boolean" then
    return value
  end
  value = number16(value)
  if value == nil then
    return nil
  end
  return value ~= 0
end

local function default_partition(part_list)
  for name, partition in pairs(part_list or {}) do
    if partition.flag_default == 1 or partition.flag_default == true then
      return name
    end
  end
  return nil
end

local function common(job, uid)
  return {
    side = "server",
    submit_uid = uid,
    partition = text(job.partition),
    qos = text(job.qos),
    comment = text(job.comment),
    time_limit = minutes(job.time_limit),
    requeue = flag(job.requeue),
    tres_per_node = text(job.tres_per_node),
    tres_per_task = text(job.tres_per_task),
    tres_per_job = text(job.tres_per_job),
    tres_per_socket = text(job.tres_per_socket),
  }
end

-- srun in the script reads these and would bind again. The environment that a job brings cannot lose a
-- variable from here, and an empty one takes all GPUs away; so the script does it.
local FORGET = "unset SLURM_GPUS_PER_TASK SLURM_TRES_PER_TASK SLURM_GPU_BIND SLURM_TRES_BIND"

--- First line and the rest of a script of a Bourne shell; nil for any other.
local function shell_script(script)
  local first, rest = (script or ""):match("^(#![^\n]*)\n(.*)$")
  local shell = first and (first:match("^#!%s*%S*/env%s+(%S+)") or first:match("^#!%s*%S*/([^/%s]+)"))
  if shell == "sh" or shell == "bash" or shell == "dash" or shell == "ksh" or shell == "zsh" then
    return first, rest
  end
  return nil, nil
end

local function submit_request(job, part_list, uid)
  local request = common(job, uid)
  request.kind = "submit"
  if job.user_id == uid then
    request.submit_user = text(job.user_name)
  end
  request.uses_gpu = false
  if not request.partition then
    request.default_partition = default_partition(part_list)
  end
  if request.tres_per_task then -- a script may be large, and only this rule asks
    request.batch = shell_script(job.script) ~= nil
    request.num_tasks = number32(job.num_tasks)
    local least, most = number32(job.min_nodes), number32(job.max_nodes)
    request.nodes = least == most and least or nil -- with a range nobody knows how many tasks meet
    local per_node = number16(job.ntasks_per_node)
    request.ntasks_per_node = per_node ~= 0 and per_node or nil
  end
  request.has_cpus = number16(job.cpus_per_task) ~= nil or text(job.cpus_per_tres) ~= nil
  request.has_memory = job.min_mem_per_node ~= nil or job.min_mem_per_cpu ~= nil or text(job.mem_per_tres) ~= nil
  return request
end

local function modify_request(change, record, uid)
  local request = common(change, uid)
  request.kind = "modify"
  request.comment = nil
  request.qos = request.qos or text(record.qos)
  -- Moving a job is judged by what it has; any other change leaves the partition out of it.
  for _, field in ipairs({ "tres_per_node", "tres_per_task", "tres_per_job", "tres_per_socket" }) do
    request.uses_gpu = request.uses_gpu or rules.asks_gpu(policy, text(record[field]))
  end
  if not request.partition and not request.uses_gpu then
    request.uses_gpu = nil
  end
  request.partition = request.partition or text(record.partition)
  return request
end

local function say(job_message)
  slurm.log_user("%s", "slurmkit: " .. job_message)
end

local function apply(job, decision)
  if decision.set.forget_gpus_per_task then
    local first, rest = shell_script(job.script)
    -- On the line that follows, so that the numbers of lines in error messages stay right.
    job.script = first .. "\n" .. FORGET .. "; " .. rest
  end
  for field, value in pairs(decision.set) do
    if field ~= "forget_gpus_per_task" then
      job[field] = value == math.huge and INFINITE or value
    end
  end
end

local function judge(job, request)
  local decision = rules.decide(policy, request)
  if decision.overridden then
    if request.kind == "submit" then
      slurm.log_info("%s", "slurmkit: policy overridden by uid " .. tostring(request.submit_uid))
    end
    return slurm.SUCCESS
  end
  for _, refusal in ipairs(decision.refusals) do
    say(refusal.message)
  end
  if decision.refusals[1] then
    return slurm[decision.refusals[1].code] or slurm.ERROR
  end
  apply(job, decision)
  if policy.notify ~= false or decision.loud then
    for _, message in ipairs(decision.notes) do
      say(message)
    end
  end
  return slurm.SUCCESS
end

local function guarded(make_request, job, ...)
  if not policy then
    log_failure("no policy: " .. tostring(failure))
    return slurm.SUCCESS
  end
  local fine, result = pcall(function(...) return judge(job, make_request(job, ...)) end, ...)
  if not fine then
    log_failure(result)
    return slurm.SUCCESS
  end
  return result
end

function slurm_job_submit(job_desc, part_list, submit_uid)
  return guarded(submit_request, job_desc, part_list, submit_uid)
end

function slurm_job_modify(job_desc, job_rec, _, modify_uid)
  return guarded(modify_request, job_desc, job_rec, modify_uid)
end

slurm.log_info("%s", "slurmkit: job_submit policy loaded from " .. folder)
return slurm.SUCCESS
