-- What the policy says about a request: pure functions from plain tables to a decision.
-- No Slurm in here: job_submit.lua and cli_filter.lua translate. Runs on Lua 5.1 to 5.4.
local rules = {}

rules.OVERRIDE = "slurmkit:override"

local CHOICES = {
  gpu_time_limit = { require = true, default = true, off = true },
  gpus_per_task = { refuse = true, fix = true, allow = true },
  gpu_partition_without_gpu = { refuse = true, warn = true, allow = true },
}
local DEFAULTS = {
  gpu_time_limit = "require",
  gpus_per_task = "refuse",
  gpu_partition_without_gpu = "refuse",
  gpu_gres = { "gpu", "shard", "mps" },
}
local UNITS = { K = 1 / 1024, M = 1, G = 1024, T = 1024 * 1024 }

-- -- values ----------------------------------------------------------------------------------------

--- Minutes of a time as in sbatch --time, rounded up as Slurm does; nil when it is none.
function rules.minutes(text)
  text = tostring(text)
  local word = text:upper()
  if word == "UNLIMITED" or word == "INFINITE" then
    return math.huge
  end
  local days, rest = text:match("^(%d+)%-(.+)$")
  local numbers = {}
  rest = rest or text
  if not rest:match("^%d+$") and not rest:match("^%d+:%d+$") and not rest:match("^%d+:%d+:%d+$") then
    return nil
  end
  for number in rest:gmatch("%d+") do
    numbers[#numbers + 1] = tonumber(number)
  end
  local first, second, third = numbers[1], numbers[2] or 0, numbers[3] or 0
  if days then
    return (tonumber(days) * 24 + first) * 60 + second + math.ceil(third / 60)
  elseif numbers[3] then
    return first * 60 + second + math.ceil(third / 60)
  end
  return first + math.ceil(second / 60)
end

--- A number of minutes as Slurm prints it.
function rules.time_text(minutes)
  if minutes == math.huge then
    return "UNLIMITED"
  end
  local days = math.floor(minutes / 1440)
  local text = string.format("%02d:%02d:00", math.floor(minutes / 60) % 24, minutes % 60)
  return days > 0 and string.format("%d-%s", days, text) or text
end

--- MiB of an amount of memory as in sbatch --mem; nil when it is none.
function rules.mebibytes(text)
  local number, unit = tostring(text):upper():match("^(%d+)([KMGT]?)B?$")
  if not number then
    return nil
  end
  return math.max(1, math.floor(tonumber(number) * UNITS[unit == "" and "M" or unit]))
end

local function split(text)
  local words = {}
  for word in (text or ""):gmatch("[^,]+") do
    words[#words + 1] = word
  end
  return words
end

local function contains(list, wanted)
  for _, item in ipairs(list or {}) do
    if item == wanted then
      return true
    end
  end
  return false
end

--- Whether a comment has the override as one of its words; a longer word is another word.
function rules.wants_override(comment)
  for word in (comment or ""):gmatch("[^%s,;]+") do
    if word == rules.OVERRIDE then
      return true
    end
  end
  return false
end

--- Read one TRES list: "gres:gpu:h100:4" (22.05), "gres/gpu:4" (later), "gpu:4" (the user's own).
-- Returns a list of {prefix, name, kind, count}; what is no GRES is left out.
function rules.parse_tres(text)
  local found = {}
  for _, word in ipairs(split(text and (text:gsub("%b()", "")))) do
    local prefix, rest = word:match("^(gres[:/])(.+)$")
    rest = rest or word
    local name, kind, count = rest:match("^([^:=]+)[:=]([^:=]+)[:=](%d+)$")
    if not name then
      name, count = rest:match("^([^:=]+)[:=](%d+)$")
    end
    if not name then
      name, kind = rest:match("^([^:=]+)[:=]([^:=]+)$")
    end
    found[#found + 1] = { prefix = prefix or "", name = name or rest, kind = kind, count = tonumber(count or 1) }
  end
  return found
end

local function gpus_in(policy, text)
  local gpus = {}
  for _, entry in ipairs(rules.parse_tres(text)) do
    if entry.count > 0 and contains(policy.gpu_gres or DEFAULTS.gpu_gres, entry.name) then
      gpus[#gpus + 1] = entry
    end
  end
  return gpus
end

--- Whether a TRES list asks for a GPU, or for a share of one.
function rules.asks_gpu(policy, text)
  return gpus_in(policy, text)[1] ~= nil
end

local TRES = { "tres_per_node", "tres_per_task", "tres_per_job", "tres_per_socket" }

local function first_gpu(policy, request)
  for _, field in ipairs(TRES) do
    local gpu = gpus_in(policy, request[field])[1]
    if gpu then
      return gpu
    end
  end
  return nil
end

local function setting(policy, name)
  return policy[name] or DEFAULTS[name]
end

-- -- the policy itself -----------------------------------------------------------------------------

local COUNT = function(value) return type(value) == "number" and value > 0 and value % 1 == 0 end
local TEXT = function(value) return type(value) == "string" end
local FLAG = function(value) return type(value) == "boolean" end
local LIST = function(value) return type(value) == "table" end
local TIER_KEYS = {
  qos = TEXT, partition = TEXT, default_time = rules.minutes, max_time = rules.minutes,
  requeue = FLAG, cpus_per_gpu = COUNT, memory_per_gpu = rules.mebibytes,
}
local POLICY_KEYS = {
  tiers = LIST, default_tier = TEXT, gpu_time_limit = TEXT, max_time = rules.minutes, gpus_per_task = TEXT,
  gpu_partitions = LIST, gpu_partition_without_gpu = TEXT, gpu_gres = LIST, cpus_per_gpu = COUNT,
  memory_per_gpu = rules.mebibytes, operators = LIST, notify = FLAG,
}

local function check_keys(where, known, given, problems)
  for key, value in pairs(given) do
    local good = known[key]
    if not good then
      problems[#problems + 1] = where .. tostring(key) .. ": there is no such setting"
    elseif not good(value) then
      problems[#problems + 1] = where .. key .. ": " .. tostring(value) .. " is no value for this setting"
    end
  end
end

--- Problems of a policy, as text; an empty list when it can be used.
function rules.problems(policy)
  if type(policy) ~= "table" then
    return { "the policy is no table; does the file end with `return policy`?" }
  end
  local problems = {}
  check_keys("", POLICY_KEYS, policy, problems)
  for key, choices in pairs(CHOICES) do
    if TEXT(policy[key]) and not choices[policy[key]] then
      problems[#problems + 1] = key .. ": " .. policy[key] .. " is none of the choices"
    end
  end
  local owners = { qos = {}, partition = {} }
  for name, tier in pairs(LIST(policy.tiers) and policy.tiers or {}) do
    local where = "tiers." .. tostring(name)
    if LIST(tier) then
      check_keys(where .. ".", TIER_KEYS, tier, problems)
      -- Partitions may be shared where the QOS tells tiers apart.
      local key = tier.qos and "qos" or "partition"
      local value = tier[key]
      if value == nil then
        problems[#problems + 1] = where .. ": needs qos or partition"
      elseif owners[key][value] then
        problems[#problems + 1] = where .. "." .. key .. ": another tier has " .. tostring(value)
      else
        owners[key][value] = name
      end
    else
      problems[#problems + 1] = where .. ": is no table"
    end
  end
  local default = policy.default_tier
  if default and not (LIST(policy.tiers) and policy.tiers[default]) then
    problems[#problems + 1] = "default_tier: there is no tier " .. tostring(default)
  end
  table.sort(problems)
  return problems
end

--- Name and table of the tier a request belongs to, or nil.
-- Names are tried in order, so that the same request always finds the same tier.
function rules.tier_of(policy, request)
  local names = {}
  for name in pairs(policy.tiers or {}) do
    names[#names + 1] = name
  end
  table.sort(names)
  if request.qos then
    for _, name in ipairs(names) do
      if policy.tiers[name].qos == request.qos then
        return name, policy.tiers[name]
      end
    end
  end
  if request.partition then
    for _, name in ipairs(names) do
      local tier = policy.tiers[name]
      -- A QOS of another tier, or of none, is a choice that the partition does not undo.
      if tier.partition == request.partition and (not request.qos or not tier.qos) then
        return name, tier
      end
    end
  elseif not request.qos and policy.default_tier then
    return policy.default_tier, policy.tiers[policy.default_tier]
  end
  return nil, nil
end

local function is_operator(policy, request)
  local operators = policy.operators or {}
  return contains(operators.uids, request.submit_uid)
    or (request.submit_user ~= nil and contains(operators.users, request.submit_user))
end

-- -- one rule each ---------------------------------------------------------------------------------

local function refuse(decision, code, message)
  decision.refusals[#decision.refusals + 1] = { code = code, message = message }
end

local function note(decision, message)
  decision.notes[#decision.notes + 1] = message
end

local function gpus_per_task_rule(policy, request, decision)
  local per_task = gpus_in(policy, request.tres_per_task)[1]
  local choice = setting(policy, "gpus_per_task")
  if not per_task or choice == "allow" then
    return
  end
  local per_node = request.ntasks_per_node
  if not per_node and request.num_tasks == 1 then
    per_node = 1
  elseif not per_node and request.num_tasks and request.nodes and request.num_tasks % request.nodes == 0 then
    per_node = request.num_tasks / request.nodes
  end
  local total = per_node and math.floor(per_node * per_task.count)
  local wanted = total and "--gres=gpu:" .. total or "--gres=gpu:N"
  -- Only a batch script starts its steps later, in an environment that can still be changed.
  if choice == "fix" and request.kind == "submit" and request.batch and total
    and not (request.tres_per_node or request.tres_per_job or request.tres_per_socket) then
    if request.side == "server" then
      local kind = per_task.kind and per_task.kind .. ":" or ""
      decision.set.tres_per_node = per_task.prefix .. per_task.name .. ":" .. kind .. total
      decision.set.tres_per_task = ""
      decision.set.tres_bind = ""
      decision.set.forget_gpus_per_task = true
      note(decision, string.format(
        "--gpus-per-task=%d was made --gres=gpu:%d: every rank sees all GPUs of its node, for NVLink and CUDA IPC; "
          .. "choose by local rank (SLURM_LOCALID)", per_task.count, total))
    end
    return
  end
  refuse(decision, "ESLURM_INVALID_GRES", string.format(
    "--gpus-per-task hides a rank's GPU from the other ranks of its node, which breaks CUDA IPC and NVLink between "
      .. "them. Leave it out, ask for %s (GPUs per node), and let each rank choose by its local rank (SLURM_LOCALID)",
    wanted))
end

local function time_rule(policy, request, decision, tier_name, tier, gpu)
  local limit = request.time_limit
  local default = tier and tier.default_time
  if limit == nil and request.kind == "submit" then
    local choice = setting(policy, "gpu_time_limit")
    if gpu and (choice == "require" or (choice == "default" and not default)) then
      local example = default and rules.time_text(rules.minutes(default)) or "04:00:00"
      refuse(decision, "ESLURM_MISSING_TIME_LIMIT", string.format(
        "a GPU job needs a time limit: add --time, such as --time=%s", example))
    elseif default and not (gpu and choice == "off") then
      decision.set.time_limit = rules.minutes(default)
      note(decision, string.format("--time=%s was filled in (tier %s)", rules.time_text(decision.set.time_limit),
        tier_name))
    end
    return
  end
  local max = tier and tier.max_time or (gpu and policy.max_time) or nil
  max = max and rules.minutes(max)
  if limit and max and limit > max then
    refuse(decision, "ESLURM_INVALID_TIME_LIMIT", string.format(
      "--time=%s is more than %s may have: use at most --time=%s", rules.time_text(limit),
      tier_name and "a job of tier " .. tier_name or "a GPU job", rules.time_text(max)))
  end
end

local function partition_rule(policy, request, decision, gpu)
  local choice = setting(policy, "gpu_partition_without_gpu")
  if choice == "allow" or gpu or request.uses_gpu ~= false then
    return
  end
  local partition = decision.set.partition or request.partition or request.default_partition
  for _, name in ipairs(split(partition)) do
    if contains(policy.gpu_partitions, name) then
      local message = string.format(
        "partition %s is for GPU jobs and this job asks for no GPU: add --gres=gpu:N, or choose another --partition",
        name)
      if choice == "refuse" then
        refuse(decision, "ESLURM_INVALID_GRES", message)
      else
        decision.loud = true
        note(decision, message)
      end
      return
    end
  end
end

local function tier_rule(request, decision, name, tier)
  if not tier then
    return
  end
  if request.kind == "submit" then
    for _, field in ipairs({ "partition", "qos" }) do
      if tier[field] and not request[field] then
        decision.set[field] = tier[field]
        note(decision, string.format("--%s=%s was filled in (tier %s)", field, tier[field], name))
      end
    end
  end
  if tier.requeue and request.requeue == false then
    decision.set.requeue = 1
    decision.loud = true
    note(decision, "--no-requeue was overruled: jobs of tier " .. name .. " are always requeued")
  elseif tier.requeue and request.kind == "submit" and not request.requeue then
    decision.set.requeue = 1
  end
end

local function size_rule(policy, request, decision, tier, gpu)
  -- A job without GPUs, or with shards of one, has no GPU to count cores by.
  if not gpu or gpu.name ~= "gpu" or request.kind ~= "submit" then
    return
  end
  local cpus = tier and tier.cpus_per_gpu or policy.cpus_per_gpu
  local memory = tier and tier.memory_per_gpu or policy.memory_per_gpu
  if cpus and not request.has_cpus then
    decision.set.cpus_per_tres = string.format("%sgpu:%d", gpu.prefix, cpus)
    note(decision, string.format("--cpus-per-gpu=%d was filled in", cpus))
  end
  if memory and not request.has_memory then
    decision.set.mem_per_tres = string.format("%sgpu:%d", gpu.prefix, rules.mebibytes(memory))
    note(decision, string.format("--mem-per-gpu=%dM was filled in", rules.mebibytes(memory)))
  end
end

--- Decide about a request.
--
-- request.kind is "submit", "modify" or "step" (srun inside an allocation); request.side "server" or
-- "client". Fields that a release or a side does not know are nil: a rule that needs them is silent.
-- Returns {refusals = {{code, message}}, set = {field = value}, notes = {text}, loud = bool, overridden = bool}.
-- With a refusal nothing is set.
function rules.decide(policy, request)
  local decision = { refusals = {}, set = {}, notes = {}, loud = false, overridden = false }
  local operator = request.side == "server" and is_operator(policy, request)
  local asked = rules.wants_override(request.comment)
  if (operator and (asked or request.kind == "modify")) or (asked and request.side == "client") then
    decision.overridden = true
    return decision
  elseif asked and request.kind == "submit" then
    decision.loud = true
    note(decision, "--comment=" .. rules.OVERRIDE .. " is for operators; the policy holds")
  end
  gpus_per_task_rule(policy, request, decision)
  if request.kind ~= "step" then
    local gpu = first_gpu(policy, request)
    local name, tier = rules.tier_of(policy, request)
    tier_rule(request, decision, name, tier)
    time_rule(policy, request, decision, name, tier, gpu or request.uses_gpu)
    partition_rule(policy, request, decision, gpu)
    size_rule(policy, request, decision, tier, gpu)
  end
  if #decision.refusals > 0 then
    decision.set = {}
    decision.notes = {}
  elseif decision.set.tres_per_node then
    decision.loud = true
  end
  return decision
end

return rules
