output "instance_id" {
  description = "The machine."
  value       = aws_instance.this.id
}

output "public_ip" {
  description = "Its address."
  value       = aws_eip.this.public_ip
}

output "session" {
  description = "A shell on it, without SSH."
  value       = "aws ssm start-session --region ${var.region} --target ${aws_instance.this.id}"
}

output "ssh" {
  description = "A shell on it by SSH, if a key and a range were given."
  value       = var.public_key != null && length(var.ssh_ranges) > 0 ? "ssh admin@${aws_eip.this.public_ip}" : null
}

output "api" {
  description = "The API, if a range was given. Make a token on the machine: `sudo minirun-api token create NAME`."
  value       = length(var.api_ranges) > 0 ? "https://${aws_eip.this.public_ip}:8443" : null
}
