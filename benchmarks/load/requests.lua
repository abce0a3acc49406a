-- Runs inside wrk: what each request is, and the figures in a form that a program reads.
--
--   wrk ... -s requests.lua URL -- get PATH COUNT          GET of PATH-1 to PATH-COUNT, in turn
--   wrk ... -s requests.lua URL -- list PATH               GET of one path
--   wrk ... -s requests.lua URL -- create PATH FILE COUNT SLOTS  POST of the template in FILE until COUNT are made
--   wrk ... -s requests.lua URL -- patch PATH COUNT        merge patches of PATH-1 to PATH-COUNT, in turn
--   wrk ... -s requests.lua URL -- apply PATH FILE COUNT SLOTS   applies of the template in FILE by three managers, in turn

local threads = {}

function setup(thread)
  table.insert(threads, thread)
  thread:set("number", #threads)
end

local kinds = {}

function kinds.get(path, count)
  local at = -1
  count = tonumber(count)
  return function()
    at = (at + 7) % count
    return wrk.format("GET", path .. "-" .. at + 1)
  end
end

function kinds.list(path)
  local text = wrk.format("GET", path)
  return function() return text end
end

function kinds.create(path, file, count, slots)
  local handle = assert(io.open(file))
  local template = handle:read("*a")
  handle:close()
  count, slots = tonumber(count), tonumber(slots)
  wrk.headers["Content-Type"] = "application/json"
  local made, answered = 0, 0  -- wrk asks for one request just to look at it: number 0 is never sent
  response = function()
    answered = answered + 1
    if answered == count then
      io.write("MADE\n")  -- wrk itself ends by the clock only: who reads this interrupts it
      io.flush()
      wrk.thread:stop()
    end
  end
  return function()
    local body = template:gsub("NUMBER", made):gsub("SLOT", made % slots)
    made = made + 1
    return wrk.format("POST", path, nil, body)
  end
end

function kinds.patch(path, count)
  local at, turn = -1, 0
  count = tonumber(count)
  wrk.headers["Content-Type"] = "application/merge-patch+json"
  return function()
    at, turn = (at + 7) % count, turn + 1
    local body = '{"metadata":{"annotations":{"example.com/turn":"' .. turn .. '"}}}'
    return wrk.format("PATCH", path .. "-" .. at + 1, nil, body)
  end
end

function kinds.apply(path, file, count, slots)
  local handle = assert(io.open(file))
  local template = handle:read("*a")
  handle:close()
  count, slots = tonumber(count), tonumber(slots)
  wrk.headers["Content-Type"] = "application/apply-patch+yaml"
  local at, turn = -1, 0
  return function()
    at, turn = (at + 7) % count, turn + 1
    local number, manager = at + 1, "m" .. turn % 3
    local body = template:gsub("NUMBER", number):gsub("SLOT", number % slots)
    body = body:gsub("MANAGER", manager):gsub("TURN", turn)
    return wrk.format("PATCH", path .. "-" .. number .. "?fieldManager=" .. manager, nil, body)
  end
end

function init(arguments)
  request = kinds[arguments[1]](unpack(arguments, 2))
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'FIGURES {"requests":%d,"bytes":%d,"microseconds":%d,"p50":%d,"p99":%d,"refused":%d,"broken":%d}\n',
    summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
