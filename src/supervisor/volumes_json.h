// The body of GET /v1/volumes and `muster volumes -o json` (schema 1; fields may be added). Pure.
//
// {"schema":1,"volumes":[{"app":"db","ordinal":0,"name":"data","path":"/…","state":"in use","reason":null,
//   "registered":true,"made":"2026-01-01T00:00:00Z","owner":"www","size_bytes":null,"size_enforced":false,
//   "size_note":null,"used_bytes":4096,"used_complete":true}]}
#pragma once

#include <string>
#include <vector>

#include "supervisor/volume_list.h"

namespace muster::supervisor {

std::string volumes_json(const std::vector<VolumeRow>& rows);

}  // namespace muster::supervisor
