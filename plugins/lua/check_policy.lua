-- lua check_policy.lua [slurmkit_policy.lua]: say what is wrong with a policy before it is installed.
local folder = arg[0]:match("^(.*/)") or "./"
local path = arg[1] or folder .. "slurmkit_policy.lua"
local rules = dofile(folder .. "slurmkit_rules.lua")

local ok, policy = pcall(dofile, path)
local problems = ok and rules.problems(policy) or { policy }
for _, problem in ipairs(problems) do
  io.stderr:write(path, ": ", tostring(problem), "\n")
end
os.exit(#problems == 0 and 0 or 1)
