variable "region" {
  description = "Where: an AWS region."
  type        = string
  default     = "eu-central-1"
}

variable "name" {
  description = "What everything is called: letters, digits and hyphens."
  type        = string
  default     = "minirun"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,30}$", var.name))
    error_message = "Begin with a letter; small letters, digits and hyphens; at most 31 characters."
  }
}

variable "tags" {
  description = "Further tags for everything."
  type        = map(string)
  default     = {}
}

variable "instance_type" {
  description = "The kind of machine. The release has to be for its architecture."
  type        = string
  default     = "t3.small"
}

variable "architecture" {
  description = "Of the machine and of the release: amd64 or arm64."
  type        = string
  default     = "amd64"

  validation {
    condition     = contains(["amd64", "arm64"], var.architecture)
    error_message = "amd64 or arm64."
  }
}

variable "disk_gib" {
  description = "The size of its disk, GiB; encrypted."
  type        = number
  default     = 20

  validation {
    condition     = var.disk_gib >= 8 && floor(var.disk_gib) == var.disk_gib
    error_message = "A whole number from 8 upwards."
  }
}

variable "kms_key_id" {
  description = "The key (ARN) that the disk is encrypted with; the account's default key for disks if null."
  type        = string
  default     = null
}

variable "public_key" {
  description = "Your SSH public key, as in ~/.ssh/id_ed25519.pub. Without one there is no key pair; Session Manager works without."
  type        = string
  default     = null
}

variable "ssh_ranges" {
  description = "From where SSH is open, as CIDR ranges. Closed if empty."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for range in var.ssh_ranges : can(cidrhost(range, 0))])
    error_message = "Write ranges as 203.0.113.7/32."
  }

  validation {
    condition     = !contains(var.ssh_ranges, "0.0.0.0/0")
    error_message = "SSH open to everybody is refused: name the range that you come from."
  }
}

variable "api_ranges" {
  description = "From where the API is open (HTTPS, port 8443, with tokens), as CIDR ranges. Closed if empty."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for range in var.api_ranges : can(cidrhost(range, 0))])
    error_message = "Write ranges as 203.0.113.7/32."
  }
}

variable "release_url" {
  description = "An https address of the archive that scripts/release makes. Anybody may read it there: it holds no secret."
  type        = string

  validation {
    condition     = can(regex("^https://[^[:space:]'\"]+[.]tar[.]gz$", var.release_url))
    error_message = "An https address that ends in .tar.gz."
  }
}

variable "release_sha256" {
  description = "The archive's SHA-256, which scripts/release prints. An archive with another is not installed."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.release_sha256))
    error_message = "64 hexadecimal digits."
  }
}

variable "cidr" {
  description = "The addresses of the network."
  type        = string
  default     = "10.42.0.0/16"

  validation {
    condition     = can(cidrsubnet(var.cidr, 8, 0))
    error_message = "A range with room for a subnet of 256 addresses: 10.42.0.0/16."
  }
}
