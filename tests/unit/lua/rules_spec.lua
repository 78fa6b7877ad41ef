-- The policy's pure functions, without Slurm: lua rules_spec.lua FOLDER-OF-THE-PLUGIN
local folder = arg[1]
local rules = dofile(folder .. "/slurmkit_rules.lua")

local failures, ran = {}, 0

local function equal(what, found, wanted)
  ran = ran + 1
  if found ~= wanted then
    failures[#failures + 1] = string.format("%s: found %s, wanted %s", what, tostring(found), tostring(wanted))
  end
end

local function policy_with(changes)
  local policy = {
    tiers = {
      train = { qos = "train", partition = "gpu", default_time = "12:00:00", max_time = "2-00", requeue = true },
      quick = { qos = "quick", default_time = "30", cpus_per_gpu = 4, memory_per_gpu = "16G" },
    },
    gpu_partitions = { "gpu", "a100" },
    operators = { uids = { 0 }, users = { "opal" } },
    notify = true,
  }
  for key, value in pairs(changes or {}) do
    policy[key] = value
  end
  return policy
end

local function decide(fields, changes)
  local request = { side = "server", kind = "submit", submit_uid = 1000, uses_gpu = false }
  for key, value in pairs(fields) do
    request[key] = value
  end
  return rules.decide(policy_with(changes), request)
end

local function codes(decision)
  local list = {}
  for _, refusal in ipairs(decision.refusals) do
    list[#list + 1] = (refusal.code:gsub("^ESLURM_", ""))
  end
  return table.concat(list, " ")
end

-- -- values
for text, wanted in pairs({
  ["30"] = 30, ["0:30"] = 1, ["1:30"] = 2, ["12:00:00"] = 720, ["00:10:01"] = 11, ["7-00"] = 10080, ["1-12:30"] = 2190,
  ["1-00:00:01"] = 1441, UNLIMITED = math.huge, infinite = math.huge,
}) do
  equal("minutes of " .. text, rules.minutes(text), wanted)
end
for _, text in ipairs({ "", "soon", "1-", "-1", "1:2:3:4", "1.5" }) do
  equal("minutes of '" .. text .. "'", rules.minutes(text), nil)
end
equal("text of minutes", rules.time_text(2190), "1-12:30:00")
equal("text of minutes", rules.time_text(90), "01:30:00")
equal("text of no limit", rules.time_text(math.huge), "UNLIMITED")
equal("MiB", rules.mebibytes("16G"), 16384)
equal("MiB", rules.mebibytes("2T"), 2097152)
equal("MiB", rules.mebibytes("100"), 100)
equal("MiB", rules.mebibytes("much"), nil)

local function tres(text)
  local list = {}
  for _, entry in ipairs(rules.parse_tres(text)) do
    list[#list + 1] = table.concat({ entry.prefix, entry.name, entry.kind or "", tostring(entry.count) }, "|")
  end
  return table.concat(list, " ")
end
equal("22.05", tres("gres:gpu:h100:4"), "gres:|gpu|h100|4")
equal("later", tres("gres/gpu:2,gres/shard:8"), "gres/|gpu||2 gres/|shard||8")
equal("equals sign", tres("gres/gpu=2"), "gres/|gpu||2")
equal("type without count", tres("gres:gpu:h100"), "gres:|gpu|h100|1")
equal("name alone", tres("gpu"), "|gpu||1")
equal("with cores", tres("gres:gpu:2(S:0)"), "gres:|gpu||2")
equal("nothing", tres(nil), "")

-- -- time limits
local gpu = "gres:gpu:2"
equal("GPU without time", codes(decide({ tres_per_node = gpu })), "MISSING_TIME_LIMIT")
equal("GPU with time", codes(decide({ tres_per_node = gpu, time_limit = 60 })), "")
equal("no GPU, no time", codes(decide({})), "")
equal("another gres", codes(decide({ tres_per_node = "gres:gpu_mem:2" })), "")
equal("no GPU at all", codes(decide({ tres_per_node = "gres:gpu:0" })), "")
equal("shard is a GPU", codes(decide({ tres_per_node = "gres/shard:1" })), "MISSING_TIME_LIMIT")
equal("per job", codes(decide({ tres_per_job = "gres/gpu:1" })), "MISSING_TIME_LIMIT")
equal("off", codes(decide({ tres_per_node = gpu }, { gpu_time_limit = "off" })), "")
equal("no default", codes(decide({ tres_per_node = gpu }, { gpu_time_limit = "default" })), "MISSING_TIME_LIMIT")
local filled = decide({ tres_per_node = gpu, qos = "train" }, { gpu_time_limit = "default" })
equal("default", filled.set.time_limit, 720)
equal("default is said", filled.notes[2], "--time=12:00:00 was filled in (tier train)")
equal("CPU job of a tier", decide({ qos = "quick" }).set.time_limit, 30)
equal("65534 minutes", codes(decide({ tres_per_node = gpu, time_limit = 65534 })), "")
local long = decide({ tres_per_node = gpu, qos = "train", time_limit = 3000 })
equal("too long", codes(long), "INVALID_TIME_LIMIT")
equal("nothing set beside a refusal", next(long.set), nil)
equal("too long in words", long.refusals[1].message,
  "--time=2-02:00:00 is more than a job of tier train may have: use at most --time=2-00:00:00")
equal("for ever", codes(decide({ tres_per_node = gpu, time_limit = math.huge }, { max_time = "7-00" })),
  "INVALID_TIME_LIMIT")
equal("max_time is for GPUs", codes(decide({ time_limit = math.huge }, { max_time = "7-00" })), "")

-- -- tiers
local trained = decide({ tres_per_node = gpu, qos = "train", time_limit = 10 })
equal("partition by tier", trained.set.partition, "gpu")
equal("requeue by tier", trained.set.requeue, 1)
equal("the user's partition stays", decide({ tres_per_node = gpu, qos = "train", partition = "a100", time_limit = 9 })
  .set.partition, nil)
equal("tier by partition", decide({ tres_per_node = gpu, partition = "gpu", time_limit = 9 }).set.qos, "train")
equal("another QOS", decide({ tres_per_node = gpu, partition = "gpu", qos = "x", time_limit = 9 }).set.qos, nil)
equal("default tier", decide({}, { default_tier = "quick" }).set.qos, "quick")
equal("default tier not taken", decide({ qos = "x" }, { default_tier = "quick" }).set.time_limit, nil)
local stubborn = decide({ tres_per_node = gpu, qos = "train", time_limit = 10, requeue = false })
equal("no-requeue overruled", stubborn.set.requeue, 1)
equal("and said aloud", stubborn.loud, true)
equal("already requeued", decide({ tres_per_node = gpu, qos = "train", time_limit = 1, requeue = true })
  .set.requeue, nil)
local sized = decide({ tres_per_node = gpu, qos = "quick", time_limit = 10 })
equal("cores", sized.set.cpus_per_tres, "gres:gpu:4")
equal("memory", sized.set.mem_per_tres, "gres:gpu:16384")
equal("later release", decide({ tres_per_node = "gres/gpu:1", qos = "quick", time_limit = 1 }).set.cpus_per_tres,
  "gres/gpu:4")
equal("the user's cores stay", decide({ tres_per_node = gpu, qos = "quick", time_limit = 1, has_cpus = true })
  .set.cpus_per_tres, nil)
equal("the user's memory stays", decide({ tres_per_node = gpu, qos = "quick", time_limit = 1, has_memory = true })
  .set.mem_per_tres, nil)
equal("no cores without GPU", decide({ qos = "quick" }).set.cpus_per_tres, nil)

-- -- --gpus-per-task
local per_task = { tres_per_task = "gres:gpu:h100:2", time_limit = 10, batch = true }
local function task(fields, changes)
  for key, value in pairs(per_task) do
    fields[key] = fields[key] == nil and value or fields[key]
  end
  return decide(fields, changes)
end
local fix = { gpus_per_task = "fix" }
equal("refused", codes(task({})), "INVALID_GRES")
equal("allowed", codes(task({}, { gpus_per_task = "allow" })), "")
equal("CPUs per task", codes(task({ tres_per_task = "cpu:4" })), "")
local fixed = task({ ntasks_per_node = 4 }, fix)
equal("fixed", fixed.set.tres_per_node, "gres:gpu:h100:8")
equal("task's cleared", fixed.set.tres_per_task, "")
equal("said aloud", fixed.loud, true)
equal("by nodes", task({ num_tasks = 8, nodes = 2 }, fix).set.tres_per_node, "gres:gpu:h100:8")
equal("one task", task({ num_tasks = 1 }, fix).set.tres_per_node, "gres:gpu:h100:2")
equal("no knowing", codes(task({ num_tasks = 8 }, fix)), "INVALID_GRES")
equal("uneven", codes(task({ num_tasks = 7, nodes = 2 }, fix)), "INVALID_GRES")
equal("srun binds by itself", codes(task({ ntasks_per_node = 4, batch = false }, fix)), "INVALID_GRES")
equal("asked twice", codes(task({ ntasks_per_node = 4, tres_per_job = "gres:gpu:8" }, fix)), "INVALID_GRES")
equal("client lets the server fix", codes(task({ ntasks_per_node = 4, side = "client" }, fix)), "")
equal("client sets nothing", next(task({ ntasks_per_node = 4, side = "client" }, fix).set), nil)
equal("step", codes(task({ kind = "step", side = "client" }, fix)), "INVALID_GRES")
equal("step without", codes(decide({ kind = "step", side = "client", tres_per_node = gpu })), "")
equal("all at once", codes(decide({ tres_per_task = "gres/gpu:1" })), "INVALID_GRES MISSING_TIME_LIMIT")

-- -- GPU partitions
equal("no GPU asked", codes(decide({ partition = "a100" })), "INVALID_GRES")
equal("one of several", codes(decide({ partition = "cpu,a100" })), "INVALID_GRES")
equal("default partition", codes(decide({ default_partition = "a100" })), "INVALID_GRES")
equal("partition by tier", codes(decide({ qos = "train" })), "INVALID_GRES")
equal("another", codes(decide({ partition = "a1000" })), "")
equal("known to have one", codes(decide({ partition = "a100", uses_gpu = 1, time_limit = 1 })), "")
local warned = decide({ partition = "a100" }, { gpu_partition_without_gpu = "warn" })
equal("warned", codes(warned) .. #warned.notes, "1")
equal("allowed", #decide({ partition = "a100" }, { gpu_partition_without_gpu = "allow" }).notes, 0)

-- -- operators
local word = "run-7 slurmkit:override"
equal("operator", decide({ tres_per_node = gpu, comment = word, submit_uid = 0 }).overridden, true)
equal("by name", decide({ tres_per_node = gpu, comment = word, submit_user = "opal" }).overridden, true)
equal("operator without the word", codes(decide({ tres_per_node = gpu, submit_uid = 0 })), "MISSING_TIME_LIMIT")
equal("somebody else", codes(decide({ tres_per_node = gpu, comment = word })), "MISSING_TIME_LIMIT")
equal("another word", rules.wants_override("slurmkit:overrides"), false)
equal("client takes the word", decide({ tres_per_node = gpu, comment = word, side = "client" }).overridden, true)

-- -- changes of jobs
equal("operator", decide({ kind = "modify", qos = "train", time_limit = 9999, submit_uid = 0 }).overridden, true)
equal("longer", codes(decide({ kind = "modify", qos = "train", time_limit = 9999 })), "INVALID_TIME_LIMIT")
equal("no defaults", next(decide({ kind = "modify", qos = "train", uses_gpu = true }).set), nil)
equal("no requeue", decide({ kind = "modify", qos = "train", requeue = false, uses_gpu = true }).set.requeue, 1)
equal("moved", codes(decide({ kind = "modify", partition = "a100" })), "INVALID_GRES")
equal("moved with GPU", codes(decide({ kind = "modify", partition = "a100", uses_gpu = true })), "")

-- -- the policy itself
local function problem(changes)
  return rules.problems(policy_with(changes))[1]
end
equal("fine", problem(), nil)
equal("as shipped", rules.problems(dofile(folder .. "/slurmkit_policy.lua"))[1], nil)
equal("typo", problem({ gpu_partition = {} }), "gpu_partition: there is no such setting")
equal("choice", problem({ gpus_per_task = "forbid" }), "gpus_per_task: forbid is none of the choices")
equal("type", problem({ max_time = "soon" }), "max_time: soon is no value for this setting")
equal("fraction", problem({ cpus_per_gpu = 1.5 }), "cpus_per_gpu: 1.5 is no value for this setting")
equal("tier", problem({ default_tier = "prod" }), "default_tier: there is no tier prod")
equal("tier without a name", problem({ tiers = { x = {} } }), "tiers.x: needs qos or partition")
equal("tier's typo", problem({ tiers = { x = { qos = "x", requeu = true } } }),
  "tiers.x.requeu: there is no such setting")
equal("two tiers", problem({ tiers = { x = { qos = "x" }, y = { qos = "x" } } }) ~= nil, true)
equal("no table", rules.problems(nil)[1], "the policy is no table; does the file end with `return policy`?")

if #failures > 0 then
  io.stderr:write(table.concat(failures, "\n"), "\n")
  os.exit(1)
end
print(ran .. " checks")
