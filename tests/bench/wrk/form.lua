-- The same form body again and again.
--   wrk … -s form.lua URL -- BODY
function init(args)
  local headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }
  message = wrk.format("POST", nil, headers, args[1])
end

function request()
  return message
end
